"""This machine: its two cores, the CPU and memory of a server's processes, and how quiet it is."""

import datetime as dt
import os
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
QUIET = 0.1
"""What share of the two cores others may use while figures are made that shall hold."""

OPEN_FILES = 20_000


def pinned(core: int, *command: str | Path) -> list[str]:
    return ["taskset", "-c", str(core), *map(str, command)]


def settle_in() -> None:
    """Leave the server's core alone (what is started from here inherits that), and allow many open files."""
    os.sched_setaffinity(0, {LOAD_CORE})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def processes(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*"):
            try:
                found += map(int, (task / "children").read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it."""
    return sum(cpu_times(pid))


def cpu_times(pid: int) -> tuple[float, float]:
    """The two apart: in user mode, and in the kernel."""
    user = system = 0
    for process in processes(pid):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        user += int(fields[11])
        system += int(fields[12])
    return user / TICKS, system / TICKS


def memory_bytes(pid: int) -> dict[str, int]:
    """Resident and proportional set size of a process and all below it. The kernel's socket buffers are in neither."""
    sizes = {"rss": 0, "pss": 0}
    for process in processes(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, size = line.partition(":")
            if name.lower() in sizes:
                sizes[name.lower()] += int(size.split()[0]) * 1024
    return sizes


def busy(seconds: float = 2) -> float:
    """Return the share of all cores that other programs use now, while no program of the bench runs."""

    def ticks() -> tuple[int, int]:
        first, *_ = Path("/proc/stat").read_text().splitlines()
        user, nice, system, idle, wait, *rest = map(int, first.split()[1:9])
        return idle + wait, user + nice + system + idle + wait + sum(rest)

    idle, total = ticks()
    time.sleep(seconds)
    idle_then, total_then = ticks()
    return 1 - (idle_then - idle) / (total_then - total)


class Watch:
    """Measures the CPU of other programs while programs of the bench run. Those must be waited for before the end."""

    def __init__(self) -> None:
        self._began, self._used, self._ours = time.monotonic(), _used_seconds(), _our_seconds()

    def others(self) -> float:
        """Their share of all cores since the beginning."""
        used = _used_seconds() - self._used - (_our_seconds() - self._ours)
        return max(used, 0) / (time.monotonic() - self._began) / (os.cpu_count() or 1)


def _used_seconds() -> float:
    user, nice, system = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:4])
    return (user + nice + system) / TICKS


def _our_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def described() -> dict[str, Any]:
    """Describe the machine, for readers of the figures."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    dirty = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no", "src", "bench"],
        capture_output=True,
        text=True,
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "begun": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() + (" with changes" if dirty.stdout.strip() else ""),
    }
