"""Floods of frames that are no messages, and of messages."""

import pytest

from tests.asgi_servers.client import masked

from .attacker import flood, received, upgraded
from .prober import allowed, compared
from .server import Attacked

CONNECTIONS = 50
SECONDS = 3.0

EMPTY_FRAGMENTS = b"\x01\x80abcd" + b"\x00\x80abcd" * 40_000
PINGS = b"\x89\x80abcd" * 40_000
PONGS = b"\x8a\x80abcd" * 40_000
MESSAGES = masked(b'{"type":"ping"}') * 10_000

FLOODS = [
    pytest.param(EMPTY_FRAGMENTS, id="empty-fragments"),
    pytest.param(PINGS, id="pings"),
    pytest.param(PONGS, id="pongs"),
    pytest.param(MESSAGES, id="messages"),
]


@pytest.mark.alone  # it measures round trips
@pytest.mark.parametrize("data", FLOODS)
def test_a_flood_of_frames_does_not_slow_others(server: Attacked, data: bytes) -> None:
    quiet, loud = compared(server, lambda: flood(server, data, connections=CONNECTIONS, pause=1.0), SECONDS)

    assert loud.p99 <= allowed(quiet)


@pytest.mark.parametrize("data", FLOODS)
def test_a_flooding_connection_is_closed_with_the_code_flooding(shared: Attacked, data: bytes) -> None:
    made, arrived = upgraded(shared)
    with made:
        made.settimeout(5)
        try:
            made.sendall(data)
        except (ConnectionError, TimeoutError):
            pass
        arrived += received(made)

    assert b"flooding" in arrived
