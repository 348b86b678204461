"""From HTTP to WebSocket: the HTTP protocol class hands its connection over together with the request that it has parsed."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.server import HttpProtocol, WebSocketProtocol

from .frames import TEXT, frame
from .http_wire import HttpPeer
from .test_adopted import Handler, giving
from .wire import ACCEPT, Peer, Recorder

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class WrittenOut(HttpProtocol):
    """Hands over as Uvicorn does: it writes the request out again, and the WebSocket protocol parses that."""

    def _give_parsed(self, kind: type[WebSocketProtocol]) -> None:
        super(HttpProtocol, self).handle_websocket_upgrade()


async def asked(
    app: Any,
    fields: dict[str, str] | None = None,
    target: str = "/live/",
    kind: type[HttpProtocol] = HttpProtocol,
) -> HttpPeer:
    peer = HttpPeer(app, kind=kind, ws=WebSocketProtocol, ws_ping_interval=None)
    await peer.ask(target, headers=UPGRADE | (fields or {}))
    return peer


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "target", ["/live/?x=1&y=%20", "/a%20b/c", "http://harbor.example/live/?x", "/live/#y"]
)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Sec-WebSocket-Protocol": "b, a", "sec-websocket-extensions": "c; d"},
        {"Cookie": "a=\xe9", "X-Spaces": "  in it  \t", "X-Empty": ""},
    ],
)
async def test_the_application_gets_the_scope_that_a_request_written_out_again_would_give(
    target: str, fields: dict[str, str]
) -> None:
    here, there = Recorder(ACCEPT), Recorder(ACCEPT)

    given = await asked(here, fields, target)
    written = await asked(there, fields, target, WrittenOut)

    assert here.scope == there.scope
    assert given.head == written.head


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
    ],
)
async def test_a_request_that_opens_no_websocket_is_refused(fields: dict[str, str], status: int) -> None:
    peer = await asked(Recorder(ACCEPT), fields)

    assert peer.status == status
    assert peer.wire.lost


async def test_what_follows_the_request_in_the_same_read_is_handled() -> None:
    handler = Handler()
    peer = HttpPeer(giving(handler), ws=WebSocketProtocol, ws_ping_interval=None)
    head = "\r\n".join(["GET /live/ HTTP/1.1", "Host: a", *(f"{n}: {v}" for n, v in UPGRADE.items()), "", ""])

    peer.receive(head.encode() + frame(TEXT, b"early"))
    await peer.settle()

    assert peer.status == 101
    assert handler.received == ["early"]


async def test_an_upgraded_connection_leaves_nothing_of_http_to_the_garbage_collector() -> None:
    with without_collector():
        peer = await asked(Recorder(ACCEPT))
        http = weakref.ref(peer.server) if peer.server is not None else None
        peer.server = None

        assert peer.status == 101
        assert http is not None
        assert http() is None


async def test_a_connection_that_was_given_away_leaves_nothing_to_the_garbage_collector() -> None:
    """Every connection would otherwise leave an object of some kilobytes until the next collection."""
    with without_collector():
        peer = Peer(giving(Handler()))
        made = weakref.ref(peer.server)
        await peer.open()
        peer.server = None
        for _ in range(3):
            await asyncio.sleep(0)

        assert made() is None
