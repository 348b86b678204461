"""docs/benchmarks.md and its plots, from a result. The text between the markers is replaced; all other text stays."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from bench.figures import Table, refused
from bench.goals import goals
from bench.machine import QUIET, ROOT
from bench.plots import plots
from bench.views import NAMES, View, views

PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "benchmarks"


def publish(file: Path) -> int:
    """Write the page. Refuse results without meaning: those of small runs, of a machine that was busy, and of servers that refused requests."""
    result = json.loads(file.read_text())
    if result["scale"]["quick"]:
        print(f"{file} was made with --quick: its figures say only that everything works.", file=sys.stderr)
        return 1
    if loud := [name for name, share in result["machine"]["others"].items() if share > QUIET]:
        print(
            f"{file}: other programs were at work when it measured {', '.join(loud)}; measure again.",
            file=sys.stderr,
        )
        return 1
    tables = {found["workload"]: Table.from_json(found) for found in result["tables"]}
    if refusals := list(refused(tables.values())):
        print(f"{file}: figures that do not hold: {'; '.join(refusals)}", file=sys.stderr)
        return 1
    PLOTS.mkdir(exist_ok=True)
    text = PAGE.read_text()
    for name, table in tables.items():
        block = [f"*{_measured(result)}*", "", *_tables(table)]
        for plot, title, svg in plots(table):
            (PLOTS / f"{plot}.svg").write_text(svg)
            block += [f"![{title}](benchmarks/{plot}.svg)", ""]
        block += _goals(name, table)
        text = _put(text, name, "\n".join(block))
    PAGE.write_text(text)
    print(f"{PAGE.relative_to(ROOT)} now shows {file}")
    return 0


def _measured(result: dict[str, Any]) -> str:
    machine, scale = result["machine"], result["scale"]
    return (
        f"Measured {machine['begun'][:10]} at commit {machine['commit']}: {machine['cores']} cores of {machine['processor']}, "
        f"{machine['kernel']}, Python {machine['python']}; medians of {scale['runs']} runs by turns, {scale['seconds']:g} s each, "
        "least and most in parentheses."
    )


def _tables(table: Table) -> list[str]:
    lines = []
    for view in views(table):
        lines += [f"**{view.title}**", "", *_markdown(view), ""]
        if view.note:
            lines += [view.note, ""]
    if table.missing:
        lines += ["Missing on this machine:", ""]
        lines += [f"- {NAMES.get(key, key)}: {why}" for key, why in table.missing.items()]
        lines.append("")
    return lines


def _markdown(view: View) -> list[str]:
    return [
        f"| {' | '.join(view.heads)} |",
        f"|{'---|' * len(view.heads)}",
        *(f"| {' | '.join(row)} |" for row in view.rows),
    ]


def _goals(name: str, table: Table) -> list[str]:
    lines = [
        f"| {goal.what} | {goal.wanted} | {goal.found} | {'met' if goal.met else '**missed**'} |"
        for goal in goals({name: table})
    ]
    return ["| goal | wanted | found | |", "|---|---|---|---|", *lines, ""] if lines else []


def _put(text: str, name: str, block: str) -> str:
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    new = f"{begin}\n\n{block.strip()}\n\n{end}"
    if begin in text:
        return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: new, text, flags=re.DOTALL)
    return f"{text.rstrip()}\n\n{new}\n"
