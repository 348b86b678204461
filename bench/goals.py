"""Performance goals of the project, and the check whether a run met them."""

from collections.abc import Iterator
from typing import NamedTuple

from bench.figures import Table

FLOOR_TIMES = {1: 1.5, 4: 0.6, 16: 0.25}
CHANNELS_TIMES = 40


class Goal(NamedTuple):
    what: str
    wanted: str
    found: str
    met: bool


def goals(tables: dict[str, Table]) -> Iterator[Goal]:
    for name, judge in JUDGES.items():
        if name in tables:
            yield from judge(tables[name])


def _fanout(table: Table) -> Iterator[Goal]:
    ours = ("holdfast", "holdfast-sqlite")
    for key, members, window in sorted(table.cases, key=lambda case: (case[0], *case[1:])):
        mine = table.spread((key, members, window), "us")
        if key == "portable" and mine:
            what = f"portable path, {members:,} members, {window} in flight"
            yield Goal(what, "≤ 20 µs", f"{mine.median:.1f} µs", mine.median <= 20)
        if key not in ours or mine is None:
            continue
        what = f"fan-out ({key}), {members:,} members, {window} in flight"
        if floor := table.spread(("floor", members, window), "us"):
            times, limit = mine.median / floor.median, FLOOR_TIMES[window]
            yield Goal(what, f"≤ {limit:g} times the floor", f"{times:.2f} times", times <= limit)
        for peer in ("ws", "centrifugo"):
            if other := table.spread((peer, members, window), "us"):
                yield Goal(
                    what,
                    f"< {peer}",
                    f"{mine.median:.2f} µs, {other.median:.2f} µs",
                    mine.median < other.median,
                )
        if other := table.spread(("channels", members, window), "us"):
            times = other.median / mine.median
            yield Goal(what, f"1/{CHANNELS_TIMES} of Channels", f"1/{times:.0f}", times >= CHANNELS_TIMES)


def _latency(table: Table) -> Iterator[Goal]:
    for case in table.cases:
        if case[0].startswith("holdfast") and (p99 := table.spread(case, "p99_ms")):
            what = f"latency ({case[0]}) at half the rate with {case[2]} in flight"
            yield Goal(what, "p99 < 20 ms", f"{p99.median:.1f} ms", p99.median < 20)


def _stalled(table: Table) -> Iterator[Goal]:
    for key, members, silent in table.cases:
        without = table.spread((key, members, 0), "p99_ms")
        among = table.spread((key, members, silent), "p99_ms")
        if key.startswith("holdfast") and silent and without and among and without.median:
            times = among.median / without.median
            yield Goal(f"stalled clients ({key})", "p99 ≤ 1.25 times", f"{times:.2f} times", times <= 1.25)


def _endurance(table: Table) -> Iterator[Goal]:
    for case in table.cases:
        half, after = table.spread(case, "half_mb"), table.spread(case, "after_mb")
        if half and after:
            found = f"{half.median:.1f} MB after half, {after.median:.1f} MB after all"
            yield Goal(
                "memory with stalled clients", "flat (within 5 %)", found, after.median <= 1.05 * half.median
            )


def _memory(table: Table) -> Iterator[Goal]:
    for case in table.cases:
        if case[0] == "holdfast" and case[2] == "with a session" and (users := table.spread(case, "kb")):
            what = "memory for each idle connection with a session"
            yield Goal(what, "≤ 4.2 KB", f"{users.median:.1f} KB", users.median <= 4.2)
    sizes = {
        case[0]: spread.median
        for case in table.cases
        if case[2] == "anonymous" and (spread := table.spread(case, "kb"))
    }
    if mine := sizes.get("holdfast"):
        yield Goal("memory for each idle connection", "≤ 4 KB", f"{mine:.1f} KB", mine <= 4)
        others = {
            key: size
            for key, size in sizes.items()
            if key not in ("holdfast", "holdfast-sqlite", "portable", "floor")
        }
        if others:
            least = min(others, key=others.__getitem__)
            what = "memory for each idle connection"
            yield Goal(what, f"< {least}", f"{mine:.1f} KB, {others[least]:.1f} KB", mine < others[least])


def _arrivals(table: Table) -> Iterator[Goal]:
    for who, wanted in (("anonymous", 3_000), ("with a session", 1_500)):
        if rate := table.spread(("holdfast", who), "per_second"):
            yield Goal(
                f"new connections, {who}", f"≥ {wanted:,}/s", f"{rate.median:,.0f}/s", rate.median >= wanted
            )


def _calls(table: Table) -> Iterator[Goal]:
    if rate := table.spread(("holdfast",), "per_second"):
        yield Goal("calls", "≥ 25,000/s", f"{rate.median:,.0f}/s", rate.median >= 25_000)


def _storm(table: Table) -> Iterator[Goal]:
    for case in table.cases:
        seconds, reads = table.spread(case, "seconds"), table.spread(case, "log_reads")
        if seconds and reads:
            what = f"rejoin storm ({case[0]}), {case[2]:,} events missed"
            if case[2] == 100:
                yield Goal(what, "< 5 s", f"{seconds.median:.2f} s", seconds.median < 5)
            yield Goal(
                what,
                "reads shared",
                f"{reads.median:,.0f}",
                reads.median < case[1] / 10,
            )


def _publish(table: Table) -> Iterator[Goal]:
    for case in table.cases:
        rate, wanted = table.spread(case, "per_second"), table.spread(case, "goal")
        if rate and wanted and wanted.median:
            what = f"publish: {case[0]}, {case[1]} writers, {case[2]}"
            yield Goal(
                what, f"≥ {wanted.median:,.0f}/s", f"{rate.median:,.0f}/s", rate.median >= wanted.median
            )


JUDGES = {
    "fanout": _fanout,
    "latency": _latency,
    "stalled": _stalled,
    "endurance": _endurance,
    "memory": _memory,
    "arrivals": _arrivals,
    "calls": _calls,
    "storm": _storm,
    "publish": _publish,
}
