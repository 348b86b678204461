"""Data that waits in memory: half messages, messages behind a token, tokens under way, and compression bombs."""

import contextlib
import json
import time
import zlib
from pathlib import Path

import pytest

from tests.asgi_servers.client import Raw, masked
from tests.asgi_servers.servers import Prepared

from .attacker import closed, received, upgraded
from .server import MEBIBYTE, Attacked, Memory, attacked

CONNECTIONS = 100


def half(size: int) -> bytes:
    """Return a frame that declares ``size`` bytes and lacks the last one."""
    length = b"\xff" + size.to_bytes(8, "big") if size > 0xFFFF else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + b"abcd" + b"x" * (size - 1)


@pytest.mark.parametrize("size", [MEBIBYTE, 65_537], ids=["a-mebibyte", "just-too-long"])
def test_half_a_message_that_is_too_long_is_not_stored(server: Attacked, size: int) -> None:
    memory, data = Memory(server), half(size)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(upgraded(server)[0]).sendall(data)
        grown = memory.highest(1.0)

    assert grown < CONNECTIONS * 64 * 1024, (
        "MESSAGE_BYTES each, with the connection itself and what is on its way"
    )


def test_half_a_message_in_fragments_that_are_too_long_together_is_not_stored(server: Attacked) -> None:
    memory = Memory(server)
    fragment = b"\x00\xfe\xff\xff" + b"abcd" + b"x" * 65_535
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            made = stack.enter_context(upgraded(server)[0])
            made.sendall(b"\x01" + fragment[1:] + fragment * 14)
        grown = memory.highest(1.0)

    assert grown < CONNECTIONS * 64 * 1024


@pytest.mark.parametrize("size", [65_537, 900_000])
def test_a_message_that_is_too_long_is_answered_and_the_connection_goes_on(
    shared: Attacked, size: int
) -> None:
    with Raw(shared.running) as raw:
        raw.send(type="hello")
        raw.until("welcome")
        raw.frame(b"x" * size)
        assert raw.until("error")["payload"]["code"] == "too_large"
        raw.send(type="ping")
        assert raw.until("pong")


def test_a_message_above_the_server_s_largest_closes_with_1009(shared: Attacked) -> None:
    with Raw(shared.running) as raw:
        raw.send(type="hello")
        raw.until("welcome")
        raw.frame(b"x" * (MEBIBYTE + 1))
        with pytest.raises(ConnectionError, match="1009"):
            raw.until("error")


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "data", [half(1000), b"\x81", b"\x01\x81abcd\x00"], ids=["message", "byte", "fragment"]
)
def test_a_message_that_does_not_end_is_waited_for_thirty_seconds(shared: Attacked, data: bytes) -> None:
    made, _ = upgraded(shared)
    began = time.monotonic()
    with made:
        made.sendall(masked(b'{"type":"hello"}'))
        assert b"welcome" in made.recv(4096)
        made.sendall(data)
        answer = received(made, 50)

    assert 25 < time.monotonic() - began < 45, answer
    assert b"too_slow" in answer


def test_messages_behind_a_token_are_bounded_in_bytes(tmp_path: Path, prepared: Prepared) -> None:
    slow = {"TOKEN_AUTHENTICATOR": "tests.asgi_servers.project.tokens.slow"}
    call = {"type": "call", "ref": 1, "topic": "rooms/lobby", "name": "say", "payload": "x" * 60_000}
    message = masked(json.dumps(call).encode())
    hello = masked(b'{"type":"hello","payload":{"token":"slow"}}')
    with attacked(tmp_path, prepared, holdfast=slow) as server, contextlib.ExitStack() as stack:
        memory = Memory(server)
        sockets = []
        for _ in range(10):
            made = stack.enter_context(upgraded(server)[0])
            made.settimeout(5)
            with contextlib.suppress(OSError):
                made.sendall(hello + message * 300)
            sockets.append(made)
        grown = memory.highest(1.0)
        assert closed(sockets, 10) == 10

    assert grown < 12 * MEBIBYTE


def test_one_token_of_a_connection_is_verified_at_a_time(tmp_path: Path, prepared: Prepared) -> None:
    slow = {"TOKEN_AUTHENTICATOR": "tests.asgi_servers.project.tokens.slow"}
    with attacked(tmp_path, prepared, holdfast=slow) as server, Raw(server.running) as raw:
        raw.send(type="hello")
        raw.until("welcome")
        before = server.running.state()["tasks"]
        for ref in range(50):
            raw.send(type="refresh", ref=ref, payload={"token": "slow"})
        answers = [raw.receive() for _ in range(49)]

        assert server.running.state()["tasks"] <= before + 1
        assert {answer["payload"]["code"] for answer in answers} == {"rate_limited"}
        assert all(answer["payload"]["retry_after"] > 0 for answer in answers)


def bomb(size: int) -> bytes:
    """Return a compressed text message of ``size`` spaces."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(b" " * size) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return b"\xc1\xfe" + len(packed).to_bytes(2, "big") + b"\0\0\0\0" + packed


def test_a_compressed_bomb_is_inflated_to_the_limit_only(tmp_path: Path, prepared: Prepared) -> None:
    deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    with attacked(tmp_path, prepared, "--ws-per-message-deflate") as server:
        made, _ = upgraded(server, headers=deflate)
        with made:
            made.settimeout(5)
            data, before = bomb(30 * MEBIBYTE), server.cpu()
            for _ in range(90):
                made.sendall(data)
            arrived = b""
            while arrived.count(b"too_large") < 90:
                arrived += made.recv(65536)
            cost = server.cpu() - before

    assert cost < 90 * 0.004, f"{1000 * cost / 90:.1f} ms each"
