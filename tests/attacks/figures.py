"""The cost of floods for other clients: the round trips of a well-behaved client during each, and the server's memory afterwards.

    scripts/floods                        all floods; takes about eight minutes
    scripts/floods --settle 0 sockets     one of them, without the wait for the memory

The server is ``manage.py holdfast serve`` with the default limits, except that no network is exempt. The attackers come from another
address than the client that measures. The server has the first processor core. Attackers and client share the second one, where the
client runs before the attackers if it may (root): it then waits for the server, and not for them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.asgi_servers.client import masked
from tests.asgi_servers.servers import Prepared

from .attacker import Crowd, Flood, Reconnecting, handshake
from .prober import FACTOR, LONGEST_SECONDS, Probing, RoundTrips, probe
from .server import Attacked, attacked

STRANGER = "127.0.0.2"
COUNTED = {"EXEMPT_NETWORKS": []}
SOCKETS, FLOODING = 2000, 50

PINGS = b"\x89\x80abcd" * 40_000
FRAGMENTS = b"\x01\x80abcd" + b"\x00\x80abcd" * 40_000
MESSAGES = masked(b'{"type":"ping"}') * 10_000

Attack = Callable[[Attacked], AbstractContextManager[object]]


def _crowd(data: Callable[[int], bytes]) -> Attack:
    return lambda server: Crowd(server, data(server.port), SOCKETS, STRANGER)


def _flood(data: bytes) -> Attack:
    return lambda server: Flood(server, data, connections=FLOODING, opening=None, pause=1.0, source=STRANGER)


ATTACKS: dict[str, tuple[str, Attack]] = {
    "sockets": (f"{SOCKETS:,} WebSockets of one address, tried again when refused", _crowd(handshake)),
    "silent": (f"{SOCKETS:,} sockets of one address that send nothing", _crowd(lambda port: b"")),
    "heads": (
        f"{SOCKETS:,} sockets of one address that send half a head",
        _crowd(lambda port: handshake(port)[:60]),
    ),
    "connects": (
        f"{FLOODING} threads of one address that connect again and again",
        lambda server: Reconnecting(server, FLOODING, STRANGER),
    ),
    "pings": (f"{FLOODING} connections that send pings", _flood(PINGS)),
    "fragments": (f"{FLOODING} connections that send empty fragments", _flood(FRAGMENTS)),
    "messages": (f"{FLOODING} connections that send messages", _flood(MESSAGES)),
}


@contextmanager
def served() -> Iterator[Attacked]:
    with tempfile.TemporaryDirectory() as directory:
        prepared = Prepared.make(Path(directory))
        everywhere = os.sched_getaffinity(0)
        ours, *others = sorted(everywhere)
        os.sched_setaffinity(0, {ours})  # and so the server's, which is started from here
        with attacked(Path(directory), prepared, holdfast=COUNTED) as server:
            os.sched_setaffinity(0, others[:1] or everywhere)
            yield server
        os.sched_setaffinity(0, everywhere)


class Measured(NamedTuple):
    """Round trips of a quiet run and of one during the attack; the share of a core that the server used then; and by what share its
    memory has grown since, some time after the attack."""

    quiet: RoundTrips
    loud: RoundTrips
    busy: float
    grown: float

    @property
    def goal(self) -> float:
        return min(LONGEST_SECONDS, FACTOR * self.quiet.p99)

    @property
    def verdict(self) -> str:
        if self.loud.p99 <= self.goal:
            return "met"
        return "within 50 ms" if self.loud.p99 <= LONGEST_SECONDS else "MISSED"

    def row(self, what: str) -> str:
        times = (self.quiet.median, self.quiet.p99, self.loud.median, self.loud.p99)
        shown = " | ".join(f"{1000 * value:.1f}" for value in times)
        ends = (
            f"≤ {1000 * self.goal:.1f}: {self.verdict} | {100 * self.busy:.0f} % | {100 * self.grown:+.1f} %"
        )
        return f"| {what} | {shown} | {ends} |"


def measure(server: Attacked, attack: Attack, seconds: float, settle: float) -> Measured:
    """Measure one attack, from its first moment on."""
    quiet, memory, cpu = probe(server, seconds, urgent=True), server.memory(), server.cpu()
    probing = Probing(server, seconds, urgent=True)
    with attack(server):
        loud = probing.result()
    busy = (server.cpu() - cpu) / seconds
    time.sleep(settle)
    return Measured(quiet, loud, busy, server.memory() / memory - 1)


def main() -> None:
    options = argparse.ArgumentParser(
        prog="floods", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "attacks", nargs="*", metavar="ATTACK", help=f"one of {', '.join(ATTACKS)}; all without"
    )
    options.add_argument("--seconds", type=float, default=8.0, help="duration of a run")
    options.add_argument("--settle", type=float, default=60.0, help="seconds until the memory is read")
    options.add_argument("--tries", type=int, default=1, help="runs of each attack, of which the best counts")
    given = options.parse_args()
    if unknown := set(given.attacks) - set(ATTACKS):
        options.error(f"no such attack: {', '.join(sorted(unknown))}; there are {', '.join(ATTACKS)}")
    print(
        "| attack | quiet p50, ms | quiet p99 | p50 during | p99 during | goal | server CPU | memory after |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in given.attacks or ATTACKS:
        what, attack = ATTACKS[name]
        with served() as server:
            _warm_up(server, attack)
            found = [measure(server, attack, given.seconds, given.settle) for _ in range(given.tries)]
        # Other work on the machine can only make round trips longer, so the best try counts.
        print(min(found, key=lambda one: one.loud.p99).row(what), flush=True)


def _warm_up(server: Attacked, attack: Attack) -> None:
    """Load what is loaded at first need: an attack of a second, before the memory is read for the first time."""
    with attack(server):
        probe(server, 1.0)
    time.sleep(2.0)


if __name__ == "__main__":
    main()
