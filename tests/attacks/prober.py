"""A well-behaved client in its own process. It measures the round trips that an attack costs others.

python -m tests.attacks.prober PORT COOKIE SECONDS              prints the round trips in seconds, as JSON
python -m tests.attacks.prober PORT COOKIE SECONDS --urgent     runs before every other process on its core, if it may
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tests.asgi_servers.client import masked
from tests.asgi_servers.servers import ROOT

from .server import Attacked

PAUSE_SECONDS = 0.025
"""Forty messages a second stay below the default ``MESSAGE_RATE``."""

FACTOR = 1.5
LONGEST_SECONDS = 0.050
"""Bounds of :func:`allowed`."""

TRIES = 3

PING = b'{"type":"ping"}'

URGENT = "--urgent"


@dataclass(frozen=True, kw_only=True)
class RoundTrips:
    """Round trips in seconds, shortest first."""

    seconds: list[float]

    def share(self, share: float) -> float:
        return self.seconds[min(int(len(self.seconds) * share), len(self.seconds) - 1)]

    @property
    def median(self) -> float:
        return self.share(0.5)

    @property
    def p99(self) -> float:
        return self.share(0.99)

    def __str__(self) -> str:
        shown = (
            f"{name} {1000 * value:.2f} ms"
            for name, value in (("median", self.median), ("p99", self.p99), ("max", self.seconds[-1]))
        )
        return f"{len(self.seconds)} round trips, {', '.join(shown)}"


def allowed(quiet: RoundTrips) -> float:
    """Return the highest p99 that an attack may cause: 1.5 times that of the quiet run, or 50 ms on a busy machine."""
    return max(FACTOR * quiet.p99, LONGEST_SECONDS)


def compared(
    server: Attacked, attack: Callable[[], AbstractContextManager[object]], seconds: float
) -> tuple[RoundTrips, RoundTrips]:
    """Return the round trips of a quiet run, and those during the attack.

    Other work on the machine can only make them longer, and an attack that slows others does it each time. The best of three
    comparisons therefore counts.
    """
    for _ in range(TRIES):
        quiet = probe(server, seconds)
        probing = Probing(server, seconds)
        with attack():
            loud = probing.result()
        print(f"quiet: {quiet}\nloud: {loud}")
        if loud.p99 <= allowed(quiet):
            break
    return quiet, loud


class Probing:
    """A prober that runs. :meth:`result` waits for its end.

    An ``urgent`` one does not wait for a processor that attackers use (sched(7), SCHED_FIFO). What it waits for is the server.
    """

    def __init__(self, server: Attacked, seconds: float, user: str = "ada", *, urgent: bool = False) -> None:
        arguments = [str(server.port), server.running.users[user].cookie, str(seconds)]
        if urgent:
            arguments.append(URGENT)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.prober", *arguments], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        assert self._output.readline() == b"connected\n"
        self._seconds = seconds

    def result(self) -> RoundTrips:
        with self._process:
            printed = self._output.read()
            status = self._process.wait(self._seconds + 30)
        assert status == 0, "the prober lost its connection"
        return RoundTrips(seconds=sorted(json.loads(printed)))


def probe(server: Attacked, seconds: float, *, urgent: bool = False) -> RoundTrips:
    """Measure for ``seconds``."""
    return Probing(server, seconds, urgent=urgent).result()


class _Client:
    def __init__(self, port: int, cookie: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(
            f"GET /live/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
            f"Cookie: {cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        self._arrived = b""
        while b"\r\n\r\n" not in self._arrived:
            self._more()
        head, _, self._arrived = self._arrived.partition(b"\r\n\r\n")
        assert b" 101 " in head, head

    def _more(self) -> None:
        more = self._socket.recv(65536)
        if not more:
            raise ConnectionError("the server has closed")
        self._arrived += more

    def _exactly(self, size: int) -> bytes:
        while len(self._arrived) < size:
            self._more()
        data, self._arrived = self._arrived[:size], self._arrived[size:]
        return data

    def receive(self) -> dict[str, Any]:
        while True:
            first, size = self._exactly(2)
            if size == 126:
                size = int.from_bytes(self._exactly(2), "big")
            data = self._exactly(size)
            if first & 0xF == 0x1:
                message: dict[str, Any] = json.loads(data)
                return message
            if first & 0xF == 0x8:
                raise ConnectionError(f"closed: {data!r}")

    def round_trip(self) -> float:
        began = time.perf_counter()
        self._socket.sendall(masked(PING))
        while (message := self.receive())["type"] != "pong":
            if message["type"] in ("error", "goodbye"):
                raise ConnectionError(f"the server answered {message}")
        return time.perf_counter() - began


def main() -> None:
    port, cookie, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    if URGENT in sys.argv:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    client = _Client(port, cookie)
    client.round_trip()
    print("connected", flush=True)
    measured = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        measured.append(client.round_trip())
        time.sleep(PAUSE_SECONDS)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
