"""Request heads without an end, heads that trickle, pipelined requests, and bodies without an end."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.asgi_servers.servers import Prepared, soon

from .attacker import closed, connected, handshake, many, received
from .prober import allowed, compared
from .server import MEBIBYTE, Attacked, Memory, attacked

START = b"GET /me/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def poured(made: socket.socket, data: bytes, total: int) -> int:
    """Send ``data`` until ``total`` bytes are sent or the server has closed. Return the bytes that were sent."""
    sent = 0
    made.settimeout(3)
    with contextlib.suppress(OSError):
        while sent < total:
            sent += made.send(data)
    return sent


HEADS = [
    pytest.param(START + b"X: ", b"x" * 65536, id="one-header"),
    pytest.param(START, b"X: " + b"x" * 1000 + b"\r\n", id="many-headers"),
    pytest.param(START, b"X:\r\n" * 10_000, id="tiny-headers"),
    pytest.param(b"GET /", b"x" * 65536, id="target"),
    pytest.param(b"", b"x" * 65536, id="method"),
    pytest.param(b"", b"\r\n" * 30_000, id="empty-lines"),
    pytest.param(
        b"POST /me/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X: " + b"x" * 1000 + b"\r\n",
        id="trailers",
    ),
    pytest.param(
        b"POST /me/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"x" * 65536,
        id="chunk-extension",
    ),
]


@pytest.mark.parametrize(("start", "more"), HEADS)
def test_a_request_head_without_an_end_is_refused_and_costs_no_memory(
    server: Attacked, start: bytes, more: bytes
) -> None:
    memory = Memory(server)
    with connected(server, start) as made:
        sent = poured(made, more, 100 * MEBIBYTE)
        grown = memory.highest(0.2)

    assert sent < 30 * MEBIBYTE
    assert grown < 4 * MEBIBYTE


@pytest.mark.parametrize("kind", ["GET", "upgrade"])
@pytest.mark.parametrize(("name", "status"), [("large", b"431"), ("many", b"431"), ("allowed", b"")])
def test_a_whole_head_that_is_too_large_is_answered_with_431(
    shared: Attacked, kind: str, name: str, status: bytes
) -> None:
    more = {
        "large": "X: " + "x" * 17_000 + "\r\n",
        "many": "".join(f"X-{number}: x\r\n" for number in range(101)),
        "allowed": "".join(f"X-{number}: {'x' * 150}\r\n" for number in range(90)),
    }[name]
    request = handshake(shared.port, headers=more)
    if kind == "GET":
        request = START + more.encode() + b"Connection: close\r\n\r\n"
    with connected(shared, request) as made:
        made.settimeout(5)
        answer = made.recv(65536)

    expected = status or (b"200" if kind == "GET" else b"101")
    assert answer.startswith(b"HTTP/1.1 " + expected)


@pytest.mark.parametrize(
    "data",
    [b"", b"G", START, handshake(1)[:-2], b"\r\n"],
    ids=["nothing", "letter", "half", "upgrade", "lines"],
)
def test_a_head_that_does_not_come_is_waited_for_ten_seconds(shared: Attacked, data: bytes) -> None:
    began = time.monotonic()
    with connected(shared, data) as made:
        received(made, 15)

    assert 8 < time.monotonic() - began < 14


@contextlib.contextmanager
def trickling(server: Attacked, count: int) -> Iterator[list[socket.socket]]:
    """Open ``count`` sockets, and let each send a byte of its head now and then."""
    over = threading.Event()

    def trickle(sockets: list[socket.socket]) -> None:
        while not over.wait(0.5):
            for made in sockets:
                with contextlib.suppress(OSError):
                    made.send(b"a")

    with many(server, count, START) as sockets:
        thread = threading.Thread(target=trickle, args=(sockets,))
        thread.start()
        try:
            yield sockets
        finally:
            over.set()
            thread.join()


@pytest.mark.slow
@pytest.mark.alone  # it measures round trips
def test_five_hundred_slow_heads_do_not_slow_others(server: Attacked) -> None:
    quiet, loud = compared(server, lambda: trickling(server, 500), 3.0)

    assert loud.p99 <= allowed(quiet)


@pytest.mark.slow
@pytest.mark.alone  # it measures memory
def test_five_hundred_slow_heads_are_closed_and_leave_nothing(server: Attacked) -> None:
    memory, before = Memory(server), server.sockets()
    with trickling(server, 500) as sockets:
        assert closed(sockets, 20) == 500

    assert memory.grown < 8 * MEBIBYTE
    assert soon(lambda: server.sockets() <= before + 1), (
        "the server keeps sockets that its clients have closed"
    )


def test_pipelined_requests_are_not_stored_without_bound(server: Attacked) -> None:
    request = b"GET /doze/5/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    memory = Memory(server)
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            made = stack.enter_context(connected(server))
            poured(made, request * 1000, 2 * MEBIBYTE)
        grown = memory.highest(1.0)

    assert grown < 6 * MEBIBYTE


def test_a_few_pipelined_requests_are_answered_in_order(shared: Attacked) -> None:
    paths = ["me", "client", "me", "client"]
    request = "".join(f"GET /{path}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" for path in paths[:-1])
    last = f"GET /{paths[-1]}/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with connected(shared, (request + last).encode()) as made:
        answer = received(made)

    pages = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    expected = [b"AnonymousUser", b"127.0.0.1", b"AnonymousUser", b"127.0.0.1"]
    assert [body in page for body, page in zip(expected, pages, strict=True)] == [True] * 4


def test_an_upgrade_pipelined_behind_a_page_does_not_get_the_page_inside_the_websocket(
    shared: Attacked,
) -> None:
    page = b"GET /doze/0.5/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connected(shared, page + handshake(shared.port)) as made:
        answer = received(made)

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"awake" in answer
    assert b"101 Switching" not in answer


def test_an_upgrade_behind_an_answered_page_is_accepted(shared: Attacked) -> None:
    with connected(shared, b"GET /me/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as made:
        made.settimeout(5)
        answer = b""
        while b"AnonymousUser" not in answer:
            answer += made.recv(65536)
        made.sendall(handshake(shared.port))
        assert made.recv(65536).startswith(b"HTTP/1.1 101")


BODIES = [
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n", id="chunked"),
    pytest.param(b"Content-Length: 1000000000000\r\n\r\n", b"x" * 65536, id="declared"),
]


LIMIT = 4 * MEBIBYTE


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[Attacked]:
    """A server that takes bodies up to the limit."""
    with attacked(tmp_path_factory.mktemp("limited"), prepared, "--limit-request-body", str(LIMIT)) as server:
        yield server


@pytest.mark.parametrize("path", ["me", "doze/5"])
@pytest.mark.parametrize(("head", "more"), BODIES)
def test_a_body_without_an_end_is_refused_with_413(
    limited: Attacked, path: str, head: bytes, more: bytes
) -> None:
    start = f"POST /{path}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    with connected(limited, start + head) as made:
        sent = poured(made, more, 100 * MEBIBYTE)
        with contextlib.suppress(ConnectionError, TimeoutError):
            assert made.recv(65536).startswith(b"HTTP/1.1 413")

    assert sent < 12 * LIMIT
    limited.assert_well()


def test_a_body_within_the_limit_arrives(limited: Attacked) -> None:
    start = b"POST /me/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 2097152\r\n\r\n"
    with connected(limited, start + bytes(LIMIT // 2)) as made:
        assert received(made).startswith(b"HTTP/1.1 200")
