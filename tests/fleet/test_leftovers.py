"""A run of chaos that ends early ends all its processes: also the stopped ones, and the workers of killed ones."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .chaos.fleet import ROOT
from .chaos.records import Injected, read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/stat").exists(), reason="processes are looked up in Linux' /proc"
    ),
]

SEED = 14
"""With this gap nginx is killed first, and comes back while a server stands still."""

READY_SECONDS = 60.0
END_SECONDS = 30.0

Process = tuple[int, str]
"""Its id and when it was started, which no other has together."""


def processes() -> dict[Process, int]:
    """Every process of the machine that has not ended, with its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since it was listed
            state, parent, *rest = stat.read_text().rpartition(")")[2].split()
            if state != "Z":
                found[int(stat.parent.name), rest[17]] = int(parent)
    return found


class Family:
    """A process and all its descendants that were seen."""

    def __init__(self, eldest: int) -> None:
        self._eldest = eldest
        self._seen: set[Process] = set()

    def look(self) -> None:
        found, ids, more = processes(), {self._eldest}, True
        while more:
            added = {one for one, parent in found.items() if parent in ids and one not in self._seen}
            self._seen |= added
            ids |= {pid for pid, _ in self._seen}
            more = bool(added)

    @property
    def living(self) -> list[str]:
        lines = []
        for pid, _ in self._seen & set(processes()):
            with contextlib.suppress(OSError):
                lines.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')}")
        return lines

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            self.look()
            time.sleep(0.05)
        return True


def nginx_was_killed(journal: Path) -> bool:
    return journal.exists() and any(
        isinstance(record, Injected) and record.kind == "kill nginx" for record in read([journal])
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    options = [
        "--seed",
        str(SEED),
        "--gap",
        "0.6",
        "--seconds",
        "60",
        "--clients",
        "6",
        "--keep",
        str(tmp_path),
    ]
    command = [sys.executable, "-m", "tests.fleet.chaos", *options]
    with (tmp_path / "output").open("wb") as output:
        run = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        family = Family(run.pid)
        journal = tmp_path / f"seed-{SEED}" / "faults.jsonl"
        reached = family.wait_until(
            lambda: nginx_was_killed(journal) or run.poll() is not None, READY_SECONDS
        )
        assert reached, (tmp_path / "output").read_text()
        assert run.poll() is None, (tmp_path / "output").read_text()
        assert len(family.living) > 10, family.living
        run.send_signal(number)
        ended = family.wait_until(lambda: run.poll() is not None and not family.living, END_SECONDS)
        assert ended, family.living
    finally:
        run.kill()
        run.wait()
