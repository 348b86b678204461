"""Reasons of refused joins: logged for the developer under DEBUG, never sent to a client."""

import logging
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from holdfast import Event, Topic
from holdfast.connections import explaining
from holdfast.connections.explaining import Explanations
from holdfast.topics.registry import Registry
from tests.support.clock import in_jumping_time
from tests.support.connected import User, fleet


class Said(Event):
    n: int


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]

    async def may_join(self, user: Any) -> bool:
        return self.room == "open"  # type: ignore[attr-defined, no-any-return]


class Inbox(Topic):
    route = "inbox/<me>"

    async def may_join(self, user: Any) -> bool:
        return True


class Closed(Topic):
    route = "closed"


@pytest.fixture(autouse=True)
def debug(settings: Any) -> None:
    settings.DEBUG = True


async def refusal(asked: str, caplog: pytest.LogCaptureFixture, user: Any = None) -> str:
    """Return the log lines of a refused join. The client's answer is checked here."""
    async with fleet(Room, Inbox, Closed) as here:
        socket = await here.processes[0].connect(user)
        answer = await socket.join(asked)
    assert answer["payload"] == {
        "code": "forbidden",
        "message": "There is no such topic, or you may not use it.",
    }
    return caplog.messages[-1]


@in_jumping_time
async def test_a_misspelled_topic_names_the_nearest_route(caplog: pytest.LogCaptureFixture) -> None:
    assert await refusal("room/lobby", caplog, User(1)) == (
        "A join of 'room/lobby' was refused: no topic has a route that matches. The nearest is 'rooms/<slug:room>' of "
        "tests.connections.test_explaining.Room."
    )


@in_jumping_time
async def test_a_refusal_of_a_route_with_me_names_the_anonymous_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = await refusal("inbox/me", caplog)
    assert said == (
        "A join of 'inbox/me' was refused: <me> stands for a signed-in user in 'inbox/<me>' of "
        "tests.connections.test_explaining.Inbox, and this connection is anonymous."
    )


@in_jumping_time
async def test_a_topic_of_another_user_is_named_as_such(caplog: pytest.LogCaptureFixture) -> None:
    said = await refusal("inbox/2", caplog, User(1))
    assert said.startswith("A join of 'inbox/2' was refused: '2' is not the primary key of <")
    assert said.endswith(
        "<me> in 'inbox/<me>' of tests.connections.test_explaining.Inbox admits only their own. Join 'inbox/me'."
    )
    assert "no topic has a route" not in said


@in_jumping_time
async def test_a_rule_that_says_no_is_named_with_the_user(caplog: pytest.LogCaptureFixture) -> None:
    said = await refusal("rooms/lobby", caplog, User(1))
    assert "was refused: may_join of tests.connections.test_explaining.Room said no for <" in said
    assert "for an anonymous user" in await refusal("rooms/lobby", caplog)


@in_jumping_time
async def test_a_topic_without_a_rule_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert "Closed has no may_join" in await refusal("closed", caplog, User(1))


@in_jumping_time
async def test_nothing_is_logged_in_production(caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.DEBUG = False
    caplog.clear()
    async with fleet(Room) as here:
        socket = await here.processes[0].connect(User(1))
        assert (await socket.join("rooms/lobby"))["type"] == "error"
        assert "events" not in (await socket.join("rooms/open"))["payload"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@in_jumping_time
async def test_in_development_a_joined_client_knows_the_declared_events() -> None:
    async with fleet(Room) as here:
        socket = await here.processes[0].connect(User(1))
        assert (await socket.join("rooms/open"))["payload"]["events"] == ["said"]


def test_a_page_that_joins_in_a_loop_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    explanations = Explanations(Registry())
    for number in range(1000):
        explanations.refused(f"rooms/{number}", None, AnonymousUser(), 0.0)
    assert len(caplog.records) == explaining.LOGGED_AT_ONCE
    assert "there are no topics" in caplog.messages[0]
