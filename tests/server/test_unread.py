"""Clients that read nothing of a response: their connections end, and those of slow readers do not."""

import asyncio
from typing import Any

import pytest

from holdfast.server.limits import UNREAD_SECONDS
from tests.support.clock import in_jumping_time

from .http_wire import HttpPeer


async def page(scope: Any, receive: Any, send: Any) -> None:
    """A whole page at once, as Django sends one."""
    body = b"x" * 1_000_000
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Stream:
    """A response in parts, each when the one before is taken."""

    def __init__(self) -> None:
        self.ended = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.ended = True


@in_jumping_time
@pytest.mark.parametrize("version", ["1.1", "1.0"], ids=["kept alive", "closing"])
async def test_a_page_of_which_nothing_is_read_ends_after_a_time(version: str) -> None:
    peer = HttpPeer(page)
    peer.wire.stuck = True
    await peer.ask(version=version)
    await asyncio.sleep(UNREAD_SECONDS - 1)
    assert not peer.wire.aborted
    await asyncio.sleep(2)
    assert peer.wire.aborted


@in_jumping_time
async def test_a_stream_of_which_nothing_is_read_ends_and_so_does_its_application() -> None:
    stream = Stream()
    peer = HttpPeer(stream)
    server: Any = peer.server
    peer.wire.stuck = True
    server.pause_writing()
    await peer.ask()
    peer.wire.sent += b"x" * 100_000  # what the client has not read
    server.pause_writing()
    await asyncio.sleep(UNREAD_SECONDS + 1)
    assert peer.wire.aborted
    await peer.settle()
    assert stream.ended


@in_jumping_time
async def test_a_slow_reader_gets_the_whole_page() -> None:
    peer = HttpPeer(page)
    peer.wire.stuck = True
    await peer.ask()
    for _ in range(20):
        await asyncio.sleep(UNREAD_SECONDS - 1)
        del peer.wire.sent[:40_000]
        assert not peer.wire.aborted


@in_jumping_time
async def test_a_response_that_is_read_leaves_no_timer() -> None:
    peer = HttpPeer(page)
    await peer.ask()
    assert peer.server is not None
    assert peer.server._unread is None


@in_jumping_time
async def test_a_connection_that_ends_takes_its_timer_along() -> None:
    peer = HttpPeer(page)
    peer.wire.stuck = True
    await peer.ask()
    assert peer.server is not None
    watch: Any = peer.server._unread
    assert watch._timer is not None
    peer.wire.lose(None)
    assert watch._timer is None
