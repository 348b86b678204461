"""Results as tables of text: one view for each workload, for the terminal and for docs/benchmarks.md."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench import lineup
from bench.figures import Spread, Table

NAMES = {peer.key: peer.name for peer in lineup.PEERS}
ORDER = {peer.key: number for number, peer in enumerate(lineup.PEERS)}


@dataclass(frozen=True, kw_only=True)
class View:
    title: str
    heads: list[str]
    rows: list[list[str]]
    note: str = ""


def peers_of(table: Table) -> list[str]:
    return sorted({str(case[0]) for case in table.cases}, key=lambda key: ORDER.get(key, 99))


def span(spread: Spread | None, digits: int = 1) -> str:
    """The median, and from where to where the runs went."""
    if spread is None:
        return "-"
    median, least, most = (f"{value:,.{digits}f}" for value in spread)
    return median if least == most else f"{median} ({least} to {most})"


def one(spread: Spread | None, digits: int = 0, unit: str = "") -> str:
    return "-" if spread is None else f"{spread.median:,.{digits}f}{unit}"


def share(spreads: Iterable[Spread | None]) -> str:
    """The largest of some shares of a core."""
    return f"{max((spread.most for spread in spreads if spread), default=0):.0%}"


def fanout(table: Table) -> list[View]:
    views = []
    for members in sorted({case[1] for case in table.cases}):
        windows = sorted({case[2] for case in table.cases if case[1] == members})
        heads = ["server CPU for each delivery, µs"]
        for window in windows:
            heads += [f"{window} in flight", "of floor"]
            if window == windows[0]:
                heads.append("in the kernel")
        heads += ["deliveries/s", "load busy"]
        rows = []
        for key in peers_of(table):
            row = [NAMES[key]]
            for window in windows:
                found = table.spread((key, members, window), "us")
                floor = table.spread(("floor", members, window), "us")
                ratio = f"{found.median / floor.median:.2f}" if found and floor else "-"
                row += [span(found, 2), ratio]
                if window == windows[0]:
                    row.append(one(table.spread((key, members, window), "kernel_us"), 2))
            row.append(one(table.spread((key, members, windows[-1]), "per_second")))
            row.append(share(table.spread((key, members, window), "load_busy") for window in windows))
            rows.append(row)
        views.append(
            View(
                title=f"Fan-out to {members:,} members",
                heads=heads,
                rows=rows,
                note=f"Deliveries/s are with {windows[-1]} in flight.",
            )
        )
    return views


def latency(table: Table) -> list[View]:
    rows = [
        [
            NAMES[case[0]],
            str(case[2]),
            one(table.spread(case, "rate")),
            *(span(table.spread(case, name), 2) for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")),
            share([table.spread(case, "server_busy")]),
            share([table.spread(case, "load_busy")]),
        ]
        for case in _in_order(table)
    ]
    heads = [
        "ms from when an event was due",
        "half the rate with … in flight",
        "events/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "server busy",
        "load busy",
    ]
    return [
        View(
            title=f"Latency in a room of {_members(table)} at half the saturating rate",
            heads=heads,
            rows=rows,
        )
    ]


def stalled(table: Table) -> list[View]:
    rows = []
    for key, members, silent in _in_order(table):
        if silent:
            without = table.spread((key, members, 0), "p99_ms")
            among = table.spread((key, members, silent), "p99_ms")
            ratio = f"{among.median / without.median:.2f}" if without and among and without.median else "-"
            rows.append([NAMES[key], str(silent), span(without, 2), span(among, 2), ratio])
    heads = ["p99 of those who read, ms", "stalled", "without them", "with them", "ratio"]
    return [View(title=f"Stalled clients in a room of {_members(table)}", heads=heads, rows=rows)]


def endurance(table: Table) -> list[View]:
    rows = [
        [
            NAMES[case[0]],
            one(table.spread(case, "events")),
            *(span(table.spread(case, name)) for name in ("joined_mb", "fifth_mb", "half_mb", "after_mb")),
        ]
        for case in _in_order(table)
    ]
    heads = ["server's memory, MB", "events", "joined", "after a fifth", "after half", "after all"]
    return [View(title="Memory with stalled clients", heads=heads, rows=rows)]


def memory(table: Table) -> list[View]:
    rows = [
        [
            NAMES[case[0]],
            f"{case[1]:,}",
            case[2],
            *(span(table.spread(case, name)) for name in ("kb", "kb_rss", "total_mb")),
        ]
        for case in _in_order(table)
    ]
    heads = ["", "connections", "who", "KB each (PSS)", "KB each (RSS)", "server in all, MB"]
    return [View(title="Memory for each idle connection", heads=heads, rows=rows)]


def arrivals(table: Table) -> list[View]:
    rows = [
        [
            NAMES[case[0]],
            case[1],
            span(table.spread(case, "per_second"), 0),
            span(table.spread(case, "us"), 0),
            share([table.spread(case, "load_busy")]),
        ]
        for case in _in_order(table)
    ]
    heads = ["", "who", "connections/s", "server CPU each, µs", "load busy"]
    return [View(title="New connections, until they have joined", heads=heads, rows=rows)]


def calls(table: Table) -> list[View]:
    rows = [
        [
            NAMES[case[0]],
            span(table.spread(case, "per_second"), 0),
            span(table.spread(case, "us")),
            *(span(table.spread(case, name)) for name in ("p50_ms", "p99_ms")),
            share([table.spread(case, "load_busy")]),
        ]
        for case in _in_order(table)
    ]
    heads = ["", "calls/s", "server CPU each, µs", "p50, ms", "p99, ms", "load busy"]
    return [View(title="Calls", heads=heads, rows=rows)]


def storm(table: Table) -> list[View]:
    rows = [
        [
            NAMES[case[0]],
            f"{case[1] - 1:,}",
            f"{case[2]:,}",
            span(table.spread(case, "seconds"), 2),
            *(span(table.spread(case, name), 0) for name in ("p50_ms", "p99_ms", "log_reads")),
            span(table.spread(case, "cpu"), 2),
            share([table.spread(case, "load_busy")]),
        ]
        for case in _in_order(table)
    ]
    heads = [
        "",
        "clients",
        "events missed",
        "s until all caught up",
        "p50, ms",
        "p99, ms",
        "reads of the log",
        "server CPU, s",
        "load busy",
    ]
    return [View(title="Rejoin storm", heads=heads, rows=rows)]


def publish(table: Table) -> list[View]:
    rows = []
    for case in table.cases:
        row = [
            {"sqlite": "SQLite", "postgres": "PostgreSQL", "redis": "Redis"}[case[0]],
            str(case[1]),
            case[2],
        ]
        row += [one(table.spread(case, "per_second"))]
        row += [one(table.spread(case, f"{part}_ms"), 2) for part in ("p50", "p95", "p99")]
        rows.append(row)
    heads = ["database", "writers", "publishing", "events/s", "p50, ms", "p95, ms", "p99, ms"]
    return [View(title="Durable publish", heads=heads, rows=rows)]


VIEWS: dict[str, Callable[[Table], list[View]]] = {
    "fanout": fanout,
    "latency": latency,
    "stalled": stalled,
    "endurance": endurance,
    "memory": memory,
    "arrivals": arrivals,
    "calls": calls,
    "storm": storm,
    "publish": publish,
}


def views(table: Table) -> list[View]:
    return VIEWS[table.workload](table)


def _in_order(table: Table) -> list[tuple]:
    return sorted(table.cases, key=lambda case: (ORDER.get(case[0], 99), *map(str, case[1:])))


def _members(table: Table) -> str:
    return " and ".join(f"{members:,}" for members in sorted({case[1] for case in table.cases}))
