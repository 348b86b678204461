"""The plots of each workload."""

from collections.abc import Iterator

from bench.chart import FLOOR, OURS, THEIRS, Bar, Group, drawn
from bench.figures import Table
from bench.views import NAMES, peers_of


def plots(table: Table) -> Iterator[tuple[str, str, str]]:
    """A name, a title and the SVG, for each plot of a workload."""
    match table.workload:
        case "fanout":
            for members in sorted({case[1] for case in table.cases}):
                windows = sorted({case[2] for case in table.cases if case[1] == members})
                groups = [_group(table, f"{w} in flight", "us", members, w) for w in windows]
                title = f"Server CPU for each delivery, {members:,} members"
                yield f"fanout-{members}", title, drawn(title, "µs", groups)
        case "latency":
            members = next(iter(table.cases))[1]
            names = {"p50_ms": "p50", "p99_ms": "p99", "p999_ms": "p99.9"}
            groups = [_group(table, title, name, members, 1) for name, title in names.items()]
            title = "Latency at half the rate with one event in flight"
            yield "latency", title, drawn(title, "ms", groups)
        case "memory":
            members = next(iter(table.cases))[1]
            title = f"Memory for each of {members:,} idle connections"
            groups = [_group(table, who, "kb", members, who) for who in ("anonymous", "with a session")]
            yield "memory", title, drawn(title, "KB", [group for group in groups if group.bars])
        case "arrivals":
            groups = [_group(table, who, "per_second", who) for who in ("anonymous", "with a session")]
            title = "New connections a second"
            yield "arrivals", title, drawn(title, "/s", [group for group in groups if group.bars])
        case "calls":
            title = "Calls a second"
            yield "calls", title, drawn(title, "/s", [_group(table, "", "per_second")])


def _group(table: Table, title: str, figure: str, *parameters: object) -> Group:
    bars = []
    for key in peers_of(table):
        spread = table.spread((key, *parameters), figure)
        if spread is not None and spread.least > 0:
            color = FLOOR if key == "floor" else OURS if key.startswith(("holdfast", "portable")) else THEIRS
            bars.append(Bar(label=NAMES[key], spread=spread, color=color))
    return Group(title=title, bars=bars)
