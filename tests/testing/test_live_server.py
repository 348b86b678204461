"""The server for tests with a browser, in the test's process, and that of Channels, in another process."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from channels.testing import ChannelsLiveServerTestCase
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import Client as Browser
from django.test import override_settings
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from holdfast.testing import LiveServerTestCase
from tests.testing.harbour import MessagePosted, Room, Typing, harbour, person


class Page:
    """Do what a page does: connect from its origin with its cookies, join, and listen."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, kind: str, **message: Any) -> None:
        self.socket.send(json.dumps({"type": kind, "ref": 1, **message}))

    def join(self, topic: str) -> Any:
        self.send("join", topic=topic)
        return self.read("joined")

    def read(self, kind: str) -> Any:
        while (message := json.loads(self.socket.recv(10)))["type"] != kind:
            assert message["type"] != "error", message
        return message


@contextmanager
def page(url: str, browser: Browser, *, origin: str | None = None) -> Iterator[Page]:
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())
    with connect(
        url.replace("http", "ws", 1) + "/live/ws",
        origin=origin or url,
        additional_headers={"Cookie": cookies},
    ) as socket:
        yield Page(socket)


def said(body: str) -> MessagePosted:
    return MessagePosted(id=1, author="ada", body=body)


class InTheBrowser(LiveServerTestCase):
    def setUp(self) -> None:
        self.browser = Browser()
        self.browser.force_login(person("ada", "lobby"))

    def test_durable_and_ephemeral_events_of_the_test_arrive_at_once(self) -> None:
        with page(self.live_server_url, self.browser) as there:
            there.join("rooms/lobby")
            Room(room="lobby").publish(said("hi"), Typing(author="ada"))
            assert [there.read("event")["name"] for _ in "12"] == ["message.posted", "typing"]

    def test_an_action_sees_and_changes_the_tests_database(self) -> None:
        with page(self.live_server_url, self.browser) as there:
            there.join("rooms/lobby")
            there.send("call", topic="rooms/lobby", name="post", key="k", payload={"body": "over the wire"})
            assert there.read("event")["payload"]["body"] == "over the wire"
            assert there.read("result")["payload"] == Group.objects.get(name="over the wire").pk

    def test_the_tables_are_empty_again_and_the_streams_begin_again(self) -> None:
        with page(self.live_server_url, self.browser) as there:
            assert there.join("rooms/lobby")["payload"]["offset"] == 0
            Room(room="lobby").publish(said("first"))
            assert there.read("event")["offset"] == 1

    def test_pages_and_static_files_are_served_without_collectstatic(self) -> None:
        with urllib.request.urlopen(f"{self.live_server_url}/static/holdfast/holdfast.js") as answer:
            assert b"connect" in answer.read()

    def test_a_foreign_origin_is_refused(self) -> None:
        with (
            pytest.raises(InvalidStatus),
            page(self.live_server_url, self.browser, origin="http://elsewhere.example"),
        ):
            pass


class InTheBrowserInFrance(InTheBrowser):
    """A second class has another server in the same process."""


def test_a_database_in_memory_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class InMemory(LiveServerTestCase):
        pass

    monkeypatch.setattr(type(connections["default"]), "is_in_memory_db", lambda self: True, raising=False)
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")
    with pytest.raises(ImproperlyConfigured, match=r'\["TEST"\] = \{"NAME": BASE_DIR / "test.sqlite3"\}'):
        InMemory.setUpClass()


def test_the_fixture_serves_the_same(live_site: Any) -> None:
    browser = Browser()
    browser.force_login(person("ada", "lobby"))
    with page(live_site.url, browser) as there:
        there.join("rooms/lobby")
        Room(room="lobby").publish(said("hi"))
        assert there.read("event")["payload"]["body"] == "hi"
        assert str(live_site) == live_site.url


class WithChannels(ChannelsLiveServerTestCase):
    """The server runs in another process. Events of the test reach it as they reach any server."""

    @classmethod
    def _is_in_memory_db(cls, connection: Any) -> bool:
        """Channels looks at all databases. The other databases of the settings do not exist in this test."""
        return connection.alias in cls.databases and bool(super()._is_in_memory_db(connection))

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(
            override_settings(
                ASGI_APPLICATION="tests.testing.asgi.application", HOLDFAST={"RECONCILE_SECONDS": 0.1}
            )
        )
        cls.enterClassContext(harbour())
        super().setUpClass()

    def test_a_durable_event_arrives_by_the_comparison_with_the_log(self) -> None:
        browser = Browser()
        browser.force_login(person("ada", "lobby"))
        with page(self.live_server_url, browser) as there:
            there.join("rooms/lobby")
            Room(room="lobby").publish(said("hi"))
            assert there.read("event")["payload"]["body"] == "hi"
