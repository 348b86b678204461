"""Workloads of delivery: to rooms of two sizes at full speed, at half of it for the latency, and with clients that stall."""

import contextlib
import threading
import time
from collections.abc import Iterator

from bench import lineup
from bench.figures import Scale, Table, by_turns
from bench.generator import Run
from bench.machine import memory_bytes
from bench.progress import Progress
from bench.servers import Served, Surroundings

BYTES = 128
SIZES = (1_000, 5_000)
WINDOWS = (1, 4, 16)
FILL_BYTES = 4_000_000
"""Published before stalled clients are measured: more than sockets and servers buffer, so that they are known to be slow."""
LONG_RUN = 100_000


def sizes(scale: Scale) -> tuple[int, ...]:
    return tuple(dict.fromkeys(scale.members(size) for size in SIZES))


def fanout(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """CPU for each delivery, and deliveries a second, with 1, 4 and 16 events in flight."""
    table = Table(workload="fanout")

    def measure(server: Served) -> None:
        for members in sizes(scale):
            for window in WINDOWS:
                if server.peer.slow and members > 1_000 and window == 4:
                    continue  # minutes for a figure between its neighbours
                run = flood(server, members, window, scale.seconds)
                table.add((server.peer.key, members, window), **_delivery(run))

    by_turns(table, lineup.PEERS, around, scale, progress, measure)
    return table


def flood(server: Served, members: int, window: int, seconds: float, *more: str) -> Run:
    return server.load(
        "--members", str(members), "--window", str(window), "--payload", str(BYTES),
        "--seconds", str(seconds), "--warmup-ms", "1000", *more,
    )  # fmt: skip


def _delivery(run: Run) -> dict[str, float]:
    report = run.report
    deliveries = report["deliveries"]
    if not deliveries:
        raise ValueError("nothing was delivered")
    return {
        "us": 1e6 * run.cpu / deliveries,
        "kernel_us": 1e6 * run.in_kernel / deliveries,
        "per_second": deliveries / report["seconds"],
        "server_busy": run.cpu / report["seconds"],
        "load_busy": report["busy"],
        **_ages(run),
    }


def _ages(run: Run) -> dict[str, float]:
    return {name: run.report[name] for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")}


def latency(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """The age of events on arrival, at half the rate that saturates a server.

    There are two such rates where events that come together are written together: with one event in flight the server is
    busy all the time, and with sixteen it manages many more, since it writes several at once. At half of the first it is
    half idle; at half of the second it is still always busy, and what grows is how much it writes at once.
    """
    table = Table(workload="latency")
    members = scale.members(1_000)
    rates: dict[tuple[str, int], float] = {}

    def measure(server: Served) -> None:
        for window in (WINDOWS[0], WINDOWS[-1]):
            rate = _half(rates, server, members, window, scale)
            run = flood(server, members, 1, scale.seconds, "--mode", "rate", "--rate", str(rate))
            table.add((server.peer.key, members, window), rate=rate, **_delivery(run))

    by_turns(table, lineup.PEERS, around, scale, progress, measure)
    return table


def _half(
    rates: dict[tuple[str, int], float], server: Served, members: int, window: int, scale: Scale
) -> float:
    """Half of the events a second that go round with so many in flight; the same one for every run."""
    place = server.peer.key, window
    if place not in rates:
        report = flood(server, members, window, min(scale.seconds, 2)).report
        rates[place] = report["published"] / report["seconds"] / 2
    return rates[place]


def stalled(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """The effect of clients that never read on the others, and the server's memory over a long run with them."""
    table = Table(workload="stalled")
    members = scale.members(1_000)
    rates: dict[tuple[str, int], float] = {}

    def measure(server: Served) -> None:
        rate = _half(rates, server, members, WINDOWS[0], scale)
        for silent in (0, members // 10):
            before = server.counters()["fell_behind"] if server.peer.django else 0
            run = flood(
                server, members, 1, scale.seconds, "--mode", "rate", "--rate", str(rate),
                "--stalled", str(silent), "--fill", str(FILL_BYTES),
            )  # fmt: skip
            if server.peer.django and server.counters()["fell_behind"] - before < silent:
                raise ValueError("the clients that were to stall did not")
            table.add((server.peer.key, members, silent), rate=rate, **_delivery(run))

    by_turns(table, (lineup.HOLDFAST_SQLITE, lineup.WS), around, scale, progress, measure)
    return table


def endurance(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """The server's memory while very many events go past clients that never read."""
    table = Table(workload="endurance")
    members = scale.members(1_000)
    events = 2_000 if scale.quick else LONG_RUN

    def measure(server: Served) -> None:
        began = time.monotonic()
        with watched(server.pid) as seen:
            server.load(
                "--members", str(members), "--window", "16", "--payload", str(BYTES), "--stalled", str(members // 10),
                "--seconds", "300", "--events", str(events), "--warmup-ms", "0", at=seen.look,
            )  # fmt: skip
        table.add(
            (server.peer.key, members, members // 10),
            events=events,
            seconds=time.monotonic() - began,
            joined_mb=seen.at["joined"] / 1e6,
            fifth_mb=seen.sizes[len(seen.sizes) // 5] / 1e6,
            half_mb=seen.sizes[len(seen.sizes) // 2] / 1e6,
            after_mb=seen.at["measured"] / 1e6,
        )

    by_turns(table, (lineup.HOLDFAST_SQLITE,), around, scale, progress, measure)
    return table


class Seen:
    """A server's memory at the moments that the generator names, and regularly between two of them."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.at: dict[str, int] = {}
        self.sizes: list[int] = []
        self.over = threading.Event()

    def look(self, moment: str) -> None:
        self.at[moment] = memory_bytes(self._pid)["pss"]

    def watch(self) -> None:
        while not self.over.wait(0.2):
            if "measure" in self.at and "measured" not in self.at:
                self.sizes.append(memory_bytes(self._pid)["pss"])


@contextlib.contextmanager
def watched(pid: int) -> Iterator[Seen]:
    seen = Seen(pid)
    thread = threading.Thread(target=seen.watch)
    thread.start()
    try:
        yield seen
    finally:
        seen.over.set()
        thread.join()
