"""Workload of durable publishing: runs bench/publish.py and reads its figures."""

import re
import subprocess
import sys

from bench.figures import Scale, Table
from bench.machine import ROOT
from bench.progress import Progress
from bench.servers import Surroundings

LINE = re.compile(
    r"(?P<database>sqlite|postgres|redis) +(?P<writers>\d+) (?P<way>\S[\w ]*?) {2,}(?P<rate>[\d,]+) +(?P<p50>[\d.]+) +(?P<p95>[\d.]+)"
    r" +(?P<p99>[\d.]+) *(?P<goal>[\d,]+)?"
)


def publish(around: Surroundings, scale: Scale, progress: Progress) -> Table:
    """Events a second into the log, on SQLite, on PostgreSQL and in Redis; the median of its own runs."""
    table = Table(workload="publish")
    progress.begin("publish: SQLite, PostgreSQL, Redis")
    command = ["taskset", "-c", "0,1", sys.executable, str(ROOT / "bench" / "publish.py")]
    command += ["--seconds", str(scale.seconds), "--runs", str(scale.runs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if found := LINE.match(line):
            table.add(
                (found["database"], int(found["writers"]), found["way"]),
                per_second=_number(found["rate"]),
                goal=_number(found["goal"] or "0"),
                **{f"{part}_ms": float(found[part]) for part in ("p50", "p95", "p99")},
            )
    # Its exit status is the same when a goal was missed.
    if not table.cases or "Traceback" in done.stderr:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        (table.missing if "MissingProgram" in why else table.refused)["publish.py"] = why
    progress.done()
    return table


def _number(text: str) -> float:
    return float(text.replace(",", ""))
