"""Many connections of one client against a real server: each within its own limits, together far beyond them."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.asgi_servers.client import Live, masked
from tests.asgi_servers.servers import Prepared

from .attacker import Reconnecting, connected, handshake, many, received, upgraded
from .prober import Probing, allowed, compared, probe
from .server import Attacked, Memory, attacked

PING = masked(b'{"type":"ping"}')

#: Every client of these tests has a loopback address, which is exempt by default.
COUNTED = {"EXEMPT_NETWORKS": []}


def answers(sockets: list[socket.socket]) -> list[int]:
    """Return the status that each handshake got."""
    found = []
    for made in sockets:
        made.settimeout(10)
        found.append(int(made.recv(4096).split(b" ", 2)[1]))
    return found


def test_two_thousand_sockets_of_one_address_get_as_many_connections_as_one_may_have(
    tmp_path: Path, prepared: Prepared
) -> None:
    limits = COUNTED | {"CONNECTIONS_PER_ADDRESS": 200, "HANDSHAKES_PER_ADDRESS": None}
    with attacked(tmp_path, prepared, holdfast=limits) as server:
        memory = Memory(server)
        with many(server, 2000, handshake(server.port)) as sockets:
            statuses = answers(sockets)
            assert (statuses.count(101), statuses.count(429)) == (200, 1800)
            refused = sockets[statuses.index(429)]
            assert received(refused) == b"", "the server has closed it"
        with connected(server, handshake(server.port)) as again:
            _wait_until_admitted(server, again)
        assert server.output().count("CONNECTIONS_PER_ADDRESS") == 1, "the log says it once"
        assert memory.grown < 60 << 20


def _wait_until_admitted(server: Attacked, made: socket.socket) -> None:
    """The server notices within a moment that the other connections are gone."""
    end = time.monotonic() + 10
    status = answers([made])
    while status != [101]:
        assert time.monotonic() < end
        with connected(server, handshake(server.port)) as another:
            status = answers([another])


def test_a_refusal_says_when_to_come_back(tmp_path: Path, prepared: Prepared) -> None:
    with (
        attacked(tmp_path, prepared, holdfast=COUNTED | {"HANDSHAKES_PER_ADDRESS": "1/30s"}) as server,
        upgraded(server)[0],
        connected(server, handshake(server.port)) as refused,
    ):
        answer = received(refused)
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests")
    assert b"retry-after: 30\r\n" in answer.lower()


@pytest.mark.parametrize("path", ["/live/sse?topic=rooms/a", "/live/poll?topic=rooms/a"])
def test_every_transport_counts_together(tmp_path: Path, prepared: Prepared, path: str) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode()
    with (
        attacked(tmp_path, prepared, holdfast=COUNTED | {"CONNECTIONS_PER_ADDRESS": 2}) as server,
        upgraded(server)[0],
        connected(server, request) as stream,
    ):
        assert answers([stream]) == [200]
        with connected(server, request) as another:
            assert answers([another]) == [429]


@pytest.mark.alone  # it measures round trips
def test_a_flood_of_new_connections_from_one_address_does_not_slow_others(
    tmp_path: Path, prepared: Prepared
) -> None:
    attacks: list[Reconnecting] = []

    def attack() -> Reconnecting:
        attacks.append(Reconnecting(server, 50, "127.0.0.2"))
        return attacks[-1]

    with attacked(tmp_path, prepared, holdfast=COUNTED) as server:
        quiet, loud = compared(server, attack, 3.0)
        statuses = attacks[-1].statuses
    assert statuses.count(b"429") > 1000
    assert set(statuses) <= {b"101", b"429"}
    assert loud.p99 <= allowed(quiet), f"quiet: {quiet}; attacked: {loud}"


@pytest.mark.parametrize("path", ["/live/sse?topic=tickers/a", "/live/poll?topic=tickers/a"])
def test_a_flood_of_streams_or_polls_gets_as_many_connections_as_an_address_may_have(
    tmp_path: Path, prepared: Prepared, path: str
) -> None:
    limits = COUNTED | {"CONNECTIONS_PER_ADDRESS": 50, "HANDSHAKES_PER_ADDRESS": None}
    request = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode()
    with attacked(tmp_path, prepared, holdfast=limits) as server, many(server, 300, request) as sockets:
        statuses = answers(sockets)
        assert (statuses.count(200), statuses.count(429)) == (50, 250)
        assert server.running.state()["connections"] == 50


def test_a_process_that_gets_too_many_handshakes_says_503(tmp_path: Path, prepared: Prepared) -> None:
    with (
        attacked(tmp_path, prepared, holdfast={"HANDSHAKE_RATE": "5/60s"}) as server,
        many(server, 20, handshake(server.port)) as sockets,
    ):
        statuses = answers(sockets)
    assert (statuses.count(101), statuses.count(503)) == (5, 15)


async def test_a_user_with_too_many_connections_learns_it(tmp_path: Path, prepared: Prepared) -> None:
    with attacked(tmp_path, prepared, holdfast={"CONNECTIONS_PER_USER": 2}) as server:
        async with Live(server.running) as first, Live(server.running) as second:
            await first.hello()
            await second.hello()
            async with Live(server.running) as third:
                goodbye = await third.until(lambda message: message["type"] == "goodbye")
                assert (await third.closed())[0] == 4030
            async with Live(server.running, user="grace") as other:
                await other.hello()
        async with Live(server.running) as again:
            assert (await again.hello())["type"] == "welcome"
    assert goodbye["payload"] == {"code": "too_many_connections", "reconnect": True, "after": 30.0}


class Steady:
    """Connections that each send pings at a rate within their own limit, and never read more than they must."""

    def __init__(self, server: Attacked, connections: int, per_second: float) -> None:
        self._stack = ExitStack()
        self._sockets = [self._stack.enter_context(upgraded(server)[0]) for _ in range(connections)]
        self._pause = 1 / per_second
        self._over = threading.Event()
        self.received = b""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        burst = PING * 10
        while not self._over.wait(10 * self._pause):
            for made in self._sockets:
                made.setblocking(False)
                try:
                    made.send(burst)
                    self.received += made.recv(65536)
                except OSError:
                    pass  # paused or closed by the server

    def __enter__(self) -> "Steady":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._stack.close()


@pytest.mark.alone  # measures round trips
def test_connections_of_one_address_within_their_own_rates_slow_no_other_client(
    tmp_path: Path, prepared: Prepared
) -> None:
    """Without the shared meter this took the others' round trips from 0.5 ms to 300."""
    with attacked(tmp_path, prepared, holdfast=COUNTED) as server:
        quiet = probe(server, 3.0)
        with Steady(server, 50, 45.0) as attack:
            loud = Probing(server, 6.0).result()
        assert b"rate_limited" in attack.received
        assert loud.p99 <= allowed(quiet), f"quiet: {quiet}; attacked: {loud}"


@pytest.mark.alone  # measures processor time
@pytest.mark.timeout(120)
def test_a_handshake_is_refused_before_it_is_authenticated(tmp_path: Path, prepared: Prepared) -> None:
    count = 150
    limits = COUNTED | {"CONNECTIONS_PER_USER": None, "HANDSHAKES_PER_ADDRESS": f"{count}/24h"}
    with attacked(tmp_path, prepared, holdfast=limits) as server:
        cookie = server.running.users["ada"].cookie
        request = handshake(
            server.port, headers=f"Cookie: {cookie}\r\nOrigin: http://127.0.0.1:{server.port}\r\n"
        )
        spent = []
        for status in (101, 429):
            before = server.cpu()
            for _ in range(count):
                with connected(server, request) as made:
                    assert answers([made]) == [status]
            spent.append(server.cpu() - before)
    admitted, refused = spent
    assert refused < 0.7 * admitted, f"{refused / count * 1e6:.0f} µs against {admitted / count * 1e6:.0f}"


async def test_thousands_of_joins_are_limited_and_the_connection_lives_on(
    tmp_path: Path, prepared: Prepared
) -> None:
    with attacked(
        tmp_path, prepared, holdfast={"JOIN_RATE": "10/10s", "TOPICS_PER_CONNECTION": 10}
    ) as server:
        async with Live(server.running) as live:
            codes = []
            for number in range(60):
                answer = await live.join(f"rooms/many-{number}")
                codes.append(answer["payload"].get("code", answer["type"]))
                if answer["type"] == "joined":
                    await live.request("leave", topic=f"rooms/many-{number}")
                else:
                    assert answer["payload"]["retry_after"] > 0
                    await asyncio.sleep(0.02)
    assert codes.count("joined") < 15
    assert set(codes) == {"joined", "rate_limited"}


def test_a_client_that_keeps_sending_too_much_is_slowed_before_it_is_closed(
    tmp_path: Path, prepared: Prepared
) -> None:
    """While the server does not read, the client's pings wait in its socket."""
    with attacked(tmp_path, prepared, holdfast={"MESSAGE_BURST": 1, "MESSAGE_RATE": "1/s"}) as server:
        made, _ = upgraded(server)
        with made:
            made.sendall(PING * 30)
            _read_until(made, 30)
            began = time.monotonic()
            made.sendall(PING)
            _read_until(made, 1)
            assert time.monotonic() - began > 0.5


def _read_until(made: socket.socket, answers: int) -> None:
    made.settimeout(10)
    data = b""
    while data.count(b'"type":"pong"') + data.count(b"rate_limited") < answers:
        more = made.recv(65536)
        assert more, data
        data += more
