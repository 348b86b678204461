"""Harbor's chat on a network that lets no WebSocket through."""

import contextlib
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Route, WebSocketRoute, expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person

#: Messages of Chromium about such a network, which no page can prevent.
BLOCKED = (
    *AWAY,
    "Failed to load resource",
    "is an unknown or unsupported",
    "ERR_",
    "Holdfast: cannot connect",
)


class Network:
    """The network between one browser and the server."""

    def __init__(self, context: BrowserContext) -> None:
        self.sockets = self.streams = True
        self.calls = 0
        self.tried: list[str] = []
        context.route_web_socket(re.compile("/live/ws"), self._socket)
        context.route(re.compile("/live/sse"), self._stream)
        context.route(re.compile("/live/(poll|call)"), self._note)

    def _socket(self, socket: WebSocketRoute) -> None:
        self.tried.append("websocket")
        if self.sockets:
            socket.connect_to_server()
        else:
            socket.close(code=3000, reason="blocked")

    def _stream(self, route: Route) -> None:
        self.tried.append("sse")
        if self.streams:
            route.continue_()
        # else: a proxy that passes on only whole responses, and this one never ends

    def _note(self, route: Route) -> None:
        name = route.request.url.split("?")[0].rsplit("/", 1)[1]
        self.tried.append("polling" if name == "poll" else name)
        route.continue_()


@contextlib.contextmanager
def forgiving(*people: Person) -> Iterator[None]:
    try:
        yield
    finally:
        for person in people:
            person.complaints = [
                each for each in person.complaints if not any(known in each for known in BLOCKED)
            ]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("streams", [True, False], ids=["an event stream", "polling"])
def test_the_chat_works_without_a_websocket(people: People, harbor: Harbor, streams: bool) -> None:
    ada, grace = people("ada"), people("grace")
    network = Network(ada.context)
    network.sockets, network.streams = False, streams
    with forgiving(ada):
        grace.enter()
        ada.enter()
        assert ("polling" in network.tried) is not streams
        ada.say("from behind a proxy")
        grace.sees("from behind a proxy")
        ada.sees("from behind a proxy")
        grace.say("hello there")
        ada.sees("hello there")
        expect(ada.pending).to_have_count(0)
        assert "call" in network.tried
        assert [body for _, body in harbor.stored()].count("from behind a proxy") == 1


@pytest.mark.timeout(180)
def test_a_stream_resumes_after_the_server_was_killed_and_a_call_is_carried_out_once(
    people: People, harbor: Harbor
) -> None:
    ada, grace = people("ada"), people("grace")
    network = Network(ada.context)
    network.sockets = False
    with forgiving(ada, grace):
        grace.enter()
        ada.enter()
        harbor.kill()
        expect(ada.page.get_by_role("status")).to_have_text("Reconnecting")
        ada.say("while it was away")
        harbor.start()
        ada.is_online()
        grace.is_online()
        grace.say("welcome back")
        ada.sees("welcome back")
        ada.sees("while it was away")
        expect(ada.pending).to_have_count(0)
    assert [body for _, body in harbor.stored()].count("while it was away") == 1
    ada.wait_for(lambda: ada.shown()[-2:] == harbor.stored()[-2:], "the same messages as the database has")


@pytest.mark.timeout(180)
def test_it_moves_back_up_when_a_websocket_gets_through_again(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada"), people("grace")
    ada.page.clock.install()
    network = Network(ada.context)
    network.sockets = False
    with forgiving(ada):
        grace.enter()
        ada.enter()
        assert network.tried[-1] != "websocket"
        network.sockets = True
        for number in range(5):
            grace.say(f"line {number}")
        ada.page.clock.fast_forward(65_000)
        ada.wait_for(
            lambda: any(frame["type"] == "joined" for frame in ada.heard), "a join over the WebSocket"
        )
        ada.is_online()
        grace.say("at last")
        ada.sees("at last")
        ada.wait_for(lambda: ada.shown()[-6:] == harbor.stored()[-6:], "every line once and in order")
