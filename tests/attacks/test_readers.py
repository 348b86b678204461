"""Clients that stop reading, over a WebSocket and over an event stream."""

import asyncio
import contextlib
import socket
import time
from pathlib import Path

import pytest

from holdfast.server.limits import UNREAD_SECONDS
from tests.asgi_servers.client import Live, masked
from tests.asgi_servers.servers import Prepared, settled, soon

from .attacker import handshake
from .server import MEBIBYTE, Attacked, Memory, attacked

READERS = 20
# Nine megabytes for each reader, in portions that fit into the write buffer.
EVENTS, AT_ONCE, SIZE = (
    900,
    15,
    10_000,
)


def stopped(server: Attacked, way: str, topic: str) -> socket.socket:
    """Return the socket of an anonymous client that has joined a topic, and reads no more."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(10)
    made.connect(("127.0.0.1", server.port))
    if way == "websocket":
        join = b'{"type":"join","ref":1,"topic":"%b"}' % topic.encode()
        made.sendall(handshake(server.port) + masked(b'{"type":"hello"}') + masked(join))
    else:
        made.sendall(f"GET /live/sse?topic={topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    arrived = b""
    while b'"joined"' not in arrived:
        more = made.recv(512)
        assert more, arrived
        arrived += more
    return made


@pytest.mark.parametrize("way", ["websocket", "stream"])
async def test_readers_that_stop_are_closed_cost_little_and_delay_no_other_client(
    tmp_path: Path, prepared: Prepared, way: str
) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(attacked(tmp_path, prepared, holdfast={"STALL_SECONDS": 1}))
        for _ in range(READERS):
            stack.enter_context(await asyncio.to_thread(stopped, server, way, "tickers/flood"))
        async with Live(server.running) as ada:
            await ada.join("tickers/flood")
            memory = Memory(server)
            for start in range(0, EVENTS, AT_ONCE):
                page = f"tick/flood/?start={start}&count={AT_ONCE}&size={SIZE}"
                await asyncio.to_thread(server.running.get, page)
                authors = [event["payload"]["author"] for event in await ada.events(AT_ONCE)]
                numbers = [int(author.partition(":")[0]) for author in authors]
                assert numbers == list(range(start, start + AT_ONCE))
            assert memory.grown < READERS * MEBIBYTE

            def all_are_closed() -> bool:
                return bool(server.running.state()["subscriptions"]["tickers/flood"] == 1)

            assert await asyncio.to_thread(soon, all_are_closed)
            assert server.running.state()["counters"]["connections_stalled"] == READERS


@pytest.mark.timeout(120)  # the server waits for half a minute
def test_pages_of_which_nothing_is_read_are_given_up_and_cost_little(server: Attacked) -> None:
    request = b"GET /live/pour/8/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    server.running.get("live/pour/1/")
    before, memory = settled(server.sockets), Memory(server)
    with contextlib.ExitStack() as stack:
        for _ in range(READERS):
            made = stack.enter_context(socket.socket())
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.settimeout(10)
            made.connect(("127.0.0.1", server.port))
            made.sendall(request)
        assert soon(lambda: server.sockets() >= before + READERS)
        # A megabyte of each response waits in its buffer: what the page has made before it was stopped.
        assert memory.grown < READERS * 3 * MEBIBYTE
        end = time.monotonic() + 2 * UNREAD_SECONDS
        while server.sockets() > before + 2 and time.monotonic() < end:
            time.sleep(0.5)
        assert server.sockets() <= before + 2
    assert server.output().count("A client read nothing of a response for 30 s") >= 1
