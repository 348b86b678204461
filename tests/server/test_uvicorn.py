"""The protocol class in a real Uvicorn, with real sockets and clients, on both loops."""

import asyncio
import contextlib
import json
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from . import apps
from .apps import application
from .frames import BINARY, CLOSE, PING, PONG, TEXT, frame
from .running import Raw, Running, certificate, eventually, until

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module", params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(loop: str) -> Iterator[Running]:
    with Running(application, loop=loop, ws_max_size=100_000) as running:
        yield running


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A server for one test."""
    return request.node.name.replace("[", "-").replace("]", "")


async def closed(url: str, **how: Any) -> tuple[int, str]:
    async with connect(url, compression=None, **how) as client:
        with pytest.raises(ConnectionClosed) as closing:
            await client.recv()
    assert closing.value.rcvd is not None
    return closing.value.rcvd.code, closing.value.rcvd.reason


async def refused(url: str, **how: Any) -> Any:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(url, **how)
    return refusal.value.response


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_messages_are_echoed(server: Running, compression: str | None) -> None:
    async with connect(server.url("/echo"), subprotocols=["a", "b"], compression=compression) as client:  # type: ignore[list-item]
        assert client.subprotocol == "a"
        assert client.response is not None
        assert client.response.headers["x-echo"] == "1"
        assert client.response.headers["server"] == "uvicorn"
        assert bool(client.protocol.extensions) == (compression is not None)
        for message in ("", "Grüße", "x" * 100_000, b"", b"\xff", bytes(range(256)) * 300, ["in ", "two"]):
            await client.send(message)
            assert await client.recv() == ("in two" if isinstance(message, list) else message)
        pong = await client.ping()
        await pong


async def test_http_is_served_beside_it_even_on_the_same_connection(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        raw = Raw(plain)
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.head().startswith("HTTP/1.1 200")
        assert raw.take(2) == b"ok"
        plain.sendall(
            b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert raw.head().startswith("HTTP/1.1 101")


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1013, 3000, 4999])
async def test_the_application_closes(server: Running, code: int) -> None:
    assert await closed(server.url(f"/close/{code}")) == (code, "as asked")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_the_client_closes(server: Running, path: str, code: int) -> None:
    async with connect(server.url(f"/echo/{path}")) as client:
        await client.close(code, "that is all")

    (event,) = await eventually(lambda: apps.seen.get(f"/echo/{path}"))
    assert event == {"type": "websocket.disconnect", "code": code, "reason": "that is all"}


async def test_a_refusal_is_403(server: Running) -> None:
    assert (await refused(server.url("/refuse"))).status_code == 403


async def test_a_denial_in_parts(server: Running) -> None:
    response = await refused(server.url("/deny"))

    assert (response.status_code, response.headers["x-why"], response.body) == (
        401,
        "who are you?",
        b"sign in first",
    )


@pytest.mark.parametrize("what", ["fail", "leave"])
async def test_an_application_that_does_not_decide_is_500(server: Running, what: str) -> None:
    assert (await refused(server.url(f"/{what}"))).status_code == 500


@pytest.mark.parametrize(("what", "code"), [("fail", 1011), ("leave", 1000)])
async def test_an_application_that_ends_closes(server: Running, what: str, code: int) -> None:
    assert (await closed(server.url(f"/{what}/after")))[0] == code


async def test_a_message_that_is_too_big_is_1009_however_much_of_it_there_is(server: Running) -> None:
    async with connect(server.url("/echo"), compression=None) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.send(b"x" * 3_000_000)
        await client.wait_closed()

    assert client.close_code == 1009


async def test_the_headers_of_a_trusted_proxy_are_used(server: Running) -> None:
    headers = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}
    async with connect(server.url("/tell?x=1"), additional_headers=headers) as client:
        told = json.loads(await client.recv())

    assert told["client"] == ["192.0.2.9", 0]
    assert (told["scheme"], told["path"], told["query_string"]) == ("wss", "/tell", "x=1")


def test_an_upgrade_as_nginx_passes_it_on(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        plain.sendall(
            b"GET /echo HTTP/1.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nHost: harbor.example\r\n"
            b"X-Real-IP: 192.0.2.9\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert plain.recv(10_000).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


class TestRawSockets:
    def test_bytes_that_arrive_with_the_request_are_not_lost(self, server: Running) -> None:
        early = frame(TEXT, "one") + frame(PING, "?") + frame(TEXT, "x" * 70_000)
        with server.raw("/echo", early=early) as raw:
            assert raw.head().startswith("HTTP/1.1 101")
            assert sorted(raw.frame() for _ in range(3)) == [
                (TEXT, b"one"),
                (TEXT, b"x" * 70_000),
                (PONG, b"?"),
            ]

    def test_part_of_a_frame_that_arrives_with_the_request_is_not_lost(self, server: Running) -> None:
        whole = frame(TEXT, "one") + frame(TEXT, "two")
        with server.raw("/echo", early=whole[:11]) as raw:
            assert raw.head().startswith("HTTP/1.1 101")
            raw.socket.sendall(whole[11:])
            assert [raw.frame(), raw.frame()] == [(TEXT, b"one"), (TEXT, b"two")]

    def test_a_request_in_two_portions_with_more_behind_it(self, server: Running) -> None:
        with server.raw(
            "/echo", headers=b"X-Long: " + b"x" * 15_000 + b"\r\n", early=frame(TEXT, "one")
        ) as raw:
            assert raw.head().startswith("HTTP/1.1 101")
            assert raw.frame() == (TEXT, b"one")

    @pytest.mark.parametrize("headers", [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Host: x\r\n"])
    def test_an_invalid_request_is_refused(self, server: Running, headers: bytes) -> None:
        with server.raw("/echo", headers=headers) as raw:
            assert raw.head().startswith("HTTP/1.1 400")

    def test_frames_that_come_byte_by_byte(self, server: Running) -> None:
        with server.raw("/echo") as raw:
            raw.head()
            raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in frame(TEXT, "slowly"):
                raw.socket.sendall(bytes([octet]))
            assert raw.frame() == (TEXT, b"slowly")

    def test_a_half_closed_socket_is_lost(self, server: Running, path: str) -> None:
        with server.raw(f"/echo/{path}") as raw:
            raw.head()
            raw.send(TEXT, "last")
            assert raw.frame() == (TEXT, b"last")
            raw.socket.shutdown(socket.SHUT_WR)
            assert raw.at_end()

        (event,) = until(lambda: apps.seen.get(f"/echo/{path}"))
        assert event["code"] == 1006

    def test_a_client_that_violates_the_protocol_is_closed_with_the_reason(self, server: Running) -> None:
        with server.raw("/echo") as raw:
            raw.head()
            raw.socket.sendall(frame(TEXT, "x", mask=None))
            assert raw.frame() == (CLOSE, b"\x03\xeaframe is not masked")
            assert raw.at_end()

    def test_a_client_that_vanishes_leaves_nothing_behind(self, server: Running) -> None:
        for _ in range(5):
            with server.raw("/echo") as raw:
                raw.head()

        until(lambda: server.idle)


class TestBackpressure:
    def test_a_send_waits_while_the_client_does_not_read(self, server: Running, path: str) -> None:
        with server.raw(f"/flood/{path}", receive_buffer=65536) as raw:
            raw.head()
            count = until(lambda: apps.seen.get(f"/flood/{path}"))
            stalled = _stall(lambda: count[0])
            assert 0 < stalled * 65536 < 16_000_000

            for _ in range(stalled + 50):
                assert raw.frame() == (BINARY, bytes(65536))
            until(lambda: count[0] >= stalled + 50)

        until(lambda: server.idle)  # and a send that waits ends with the client

    def test_reading_stops_while_the_application_does_not_receive(self, server: Running, path: str) -> None:
        with server.raw(f"/deaf/{path}") as raw:
            raw.head()
            (loop, go_on), counted = until(lambda: apps.seen.get(f"/deaf/{path}"))
            data = frame(BINARY, bytes(10_000), mask=b"\0\0\0\0")
            raw.socket.setblocking(False)
            sent = 0
            while select.select([], [raw.socket], [], 0.3)[1]:
                start = sent % len(data)
                sent += raw.socket.send(data[start:])
                assert sent < 50_000_000, "it reads on"

            loop.call_soon_threadsafe(go_on.set)
            until(lambda: counted[0] >= sent // len(data) * 10_000)


def _stall(count: Any) -> int:
    """Return the count at which it stays."""
    last = -1
    steady = 0

    def same() -> bool:
        nonlocal last, steady
        now = count()
        steady = steady + 1 if now == last and now else 0
        last = now
        return steady > 40

    until(same)
    return last


class TestShuttingDown:
    async def test_connections_are_closed_with_1012_without_waiting_for_silent_clients(
        self, loop: str
    ) -> None:
        with Running(application, loop=loop) as server:
            async with connect(server.url("/echo/shutdown")) as client:
                with server.raw("/echo/shutdown") as raw:
                    raw.head()
                    server.stop()
                    with pytest.raises(ConnectionClosed) as closing:
                        await client.recv()
                    await eventually(lambda: not server._thread.is_alive(), 5)
                    assert raw.frame() == (CLOSE, b"\x03\xf4")

        assert closing.value.rcvd is not None
        assert closing.value.rcvd.code == 1012
        assert [event["code"] for event in apps.seen.pop("/echo/shutdown")] == [1012, 1012]


async def test_a_client_that_answers_no_ping_is_dropped(loop: str) -> None:
    def dead(raw: Raw) -> tuple[int, bytes]:
        raw.head()
        while (seen := raw.frame())[0] == PING:
            pass
        assert raw.at_end()
        return seen

    with Running(application, loop=loop, ws_ping_interval=0.05, ws_ping_timeout=0.3) as server:
        async with connect(server.url("/echo"), ping_interval=None) as alive:
            with server.raw("/echo") as raw:
                last = await asyncio.to_thread(dead, raw)
            assert last == (CLOSE, b"\x03\xf3keepalive ping timeout")
            await alive.send("still here")
            assert await alive.recv() == "still here"


async def test_compression_can_be_switched_off(loop: str) -> None:
    with Running(application, loop=loop, ws_per_message_deflate=False) as server:
        async with connect(server.url("/echo"), compression="deflate") as client:
            assert client.protocol.extensions == []


async def test_a_root_path(loop: str) -> None:
    with Running(application, loop=loop, root_path="/harbor") as server:
        async with connect(server.url("/tell")) as client:
            told = json.loads(await client.recv())

    assert (told["root_path"], told["path"]) == ("/harbor", "/harbor/tell")


async def test_tls(loop: str, tmp_path: Path) -> None:
    trusted = certificate(tmp_path / "server.pem")
    with Running(application, loop=loop, tls=tmp_path / "server.pem", ws_max_size=1000) as server:
        async with connect(server.url("/tell", "wss"), ssl=trusted) as client:
            assert json.loads(await client.recv())["scheme"] == "wss"
        async with connect(server.url("/echo", "wss"), ssl=trusted) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            await client.send("x" * 1001)
            await client.wait_closed()
            assert client.close_code == 1009
        await eventually(lambda: server.idle)


async def test_a_unix_socket(loop: str, tmp_path: Path) -> None:
    with Running(application, loop=loop, uds=tmp_path / "s") as server:
        assert server.uds is not None
        async with unix_connect(str(server.uds), "ws://harbor.example/tell") as client:
            assert json.loads(await client.recv())["client"] is None
        with server.raw("/echo", early=frame(TEXT, "one")) as raw:
            raw.head()
            assert raw.frame() == (TEXT, b"one")


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_uvicorns_own_http_protocols_work_too(http: str) -> None:
    with Running(application, http=http) as server:
        async with connect(server.url("/echo")) as client:
            await client.send("hello")
            assert await client.recv() == "hello"


class TestChannels:
    async def test_an_async_consumer(self, server: Running, path: str) -> None:
        async with connect(server.url(f"/async/{path}"), subprotocols=["a", "b"]) as client:  # type: ignore[list-item]
            assert client.subprotocol == "a"
            assert await client.recv() == "welcome"
            for message in ("hello", b"\x00"):
                await client.send(message)
                assert await client.recv() == message
            await client.send("close")
            with pytest.raises(ConnectionClosed) as closing:
                await client.recv()

        assert closing.value.rcvd is not None
        assert (closing.value.rcvd.code, closing.value.rcvd.reason) == (4001, "as asked")
        assert await eventually(lambda: apps.seen.get(f"/async/{path}")) == [4001]

    async def test_a_sync_consumer(self, server: Running, path: str) -> None:
        async with connect(server.url(f"/sync/{path}")) as client:
            assert await client.recv() == "welcome"
            for message in ("hello", b"\x00"):
                await client.send(message)
                assert await client.recv() == message
            await client.close(4002)

        assert await eventually(lambda: apps.seen.get(f"/sync/{path}")) == [4002]
        await eventually(lambda: server.idle)

    async def test_a_sync_consumer_that_refuses(self, server: Running) -> None:
        assert (await refused(server.url("/sync/refuse"))).status_code == 403


def test_a_message_that_keeps_coming_does_not_block_the_others(server: Running) -> None:
    """A frame that arrives byte by byte holds up only its own connection."""
    with server.raw("/echo") as slow, server.raw("/echo") as quick:
        slow.head()
        quick.head()
        whole = frame(BINARY, bytes(50_000))
        stop = threading.Event()

        def drip() -> None:
            for at in range(0, len(whole), 100):
                slow.socket.sendall(whole[at : at + 100])
                if stop.is_set():
                    break

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            quick.send(TEXT, "hello")
            assert quick.frame() == (TEXT, b"hello")
        finally:
            thread.join(10)
        assert slow.frame() == (BINARY, bytes(50_000))
