"""Workloads of connections: memory of an idle one, new ones per second, calls per second, and mass reconnections."""

import time

from bench import lineup
from bench.fanout import BYTES
from bench.figures import Scale, Table, by_turns
from bench.machine import memory_bytes
from bench.progress import Progress
from bench.servers import Peer, Served, Surroundings, served

ANONYMOUS, WITH_SESSION = "anonymous", "with a session"
IDLE, IDLE_SLOW = 10_000, 2_000
ARRIVING = 5_000
CALLERS, CALLS_EACH = 100, 8
RETURNING = 5_000
MISSED = (100, 1_000)
"""Events. The newest 256 of a topic are in memory, so the first is answered from there and the second from the log."""


def memory(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """Memory of the server's processes for each connection that has joined and is silent."""
    table = Table(workload="memory")

    def weigh(peer: Peer, who: str) -> None:
        """Each in a server of its own: what one leaves behind the next would be given."""
        members = scale.members(IDLE_SLOW if peer.slow else IDLE)
        found: dict[str, dict[str, int]] = {}

        def look(moment: str) -> None:
            if moment == "idle":
                time.sleep(2)  # what the handshakes left behind is given back
            found[moment] = memory_bytes(server.pid)

        with served(peer, around) as server:
            options = [] if who == ANONYMOUS else ["--cookies", sessions(server, members)]
            # What is loaded at first need is loaded.
            server.load("--mode", "idle", "--members", "50", *options)
            time.sleep(0.5)
            server.load("--mode", "idle", "--members", str(members), *options, at=look)
        grown = {name: found["idle"][name] - found["start"][name] for name in ("pss", "rss")}
        table.add(
            (peer.key, members, who),
            kb=grown["pss"] / members / 1024,
            kb_rss=grown["rss"] / members / 1024,
            total_mb=found["idle"]["pss"] / 1e6,
        )

    def measure(server: Served) -> None:
        weigh(server.peer, ANONYMOUS)
        if server.peer.django:
            weigh(server.peer, WITH_SESSION)

    by_turns(table, lineup.PEERS, around, scale, progress, measure)
    return table


def sessions(server: Served, count: int) -> str:
    """A file with the cookies of as many signed-in users."""
    cookies = server.around.directory / "cookies"
    cookies.write_text(server.manage("sessions", str(count)))
    return str(cookies)


def arrivals(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """New connections a second, until they have joined; where Django serves them, also with a user's session."""
    table = Table(workload="arrivals")
    members = scale.members(ARRIVING)

    def arrive(server: Served, who: str, *options: str) -> None:
        run = server.load("--mode", "idle", "--members", str(members), *options)
        seconds = run.report["joining_seconds"]
        table.add(
            (server.peer.key, who),
            per_second=members / seconds,
            us=1e6 * run.joining_cpu / members,
            server_busy=run.joining_cpu / seconds,
            load_busy=run.report["joining_busy"],
        )

    def measure(server: Served) -> None:
        server.load("--mode", "idle", "--members", "50")
        arrive(server, ANONYMOUS)
        if server.peer.django:
            arrive(server, WITH_SESSION, "--cookies", sessions(server, members))

    by_turns(table, lineup.PEERS, around, scale, progress, measure)
    return table


def calls(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """Requests a second that are validated, authorized, carried out by an async handler, and answered."""
    table = Table(workload="calls")

    def measure(server: Served) -> None:
        run = server.load(
            "--mode", "calls", "--members", str(CALLERS), "--window", str(CALLS_EACH), "--payload", str(BYTES),
            "--seconds", str(scale.seconds), "--warmup-ms", "1000", calls=True,
        )  # fmt: skip
        report = run.report
        table.add(
            (server.peer.key,),
            per_second=report["answers"] / report["seconds"],
            us=1e6 * run.cpu / report["answers"],
            server_busy=run.cpu / report["seconds"],
            load_busy=report["busy"],
            p50_ms=report["p50_ms"],
            p99_ms=report["p99_ms"],
        )

    by_turns(table, [peer for peer in lineup.PEERS if peer.speech.echo], around, scale, progress, measure)
    return table


def storm(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """All members of a room drop and come back together, each having missed the same number of events."""
    table = Table(workload="storm")
    members = scale.members(RETURNING)

    def measure(server: Served) -> None:
        for missed in MISSED:
            come_back(server, missed)

    def come_back(server: Served, missed: int) -> None:
        reads: dict[str, int] = {}

        def look(moment: str) -> None:
            if moment in ("measure", "measured"):
                reads[moment] = server.counters()["log_reads"]

        run = server.load(
            "--mode", "storm", "--members", str(members), "--events", str(missed), "--payload", str(BYTES),
            "--rejoin", lineup.rejoin(lineup.ROOM), at=look,
        )  # fmt: skip
        table.add(
            (server.peer.key, members, missed),
            seconds=run.report["seconds"],
            cpu=run.cpu,
            load_busy=run.report["busy"],
            log_reads=reads["measured"] - reads["measure"],
            p50_ms=run.report["p50_ms"],
            p99_ms=run.report["p99_ms"],
        )

    by_turns(table, (lineup.HOLDFAST, lineup.HOLDFAST_SQLITE), around, scale, progress, measure)
    return table
