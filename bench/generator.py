"""Running the load generator (load/load.c), and reading the server's CPU and memory at the moments that it names."""

import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import LOAD_CORE, ROOT, cpu_times, pinned

SECONDS_AT_MOST = 400


class RunFailed(Exception):
    """The load generator could not do what it was asked to; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Speech:
    """The messages of a server's clients. ``%b`` is an event's body, ``%n`` a new number."""

    path: str
    publish: str
    says: tuple[str, ...] = ()
    expects: int = 1
    """How many messages a client receives before it counts as a member."""
    echo: str = ""
    """A request whose answer is its body."""
    ping: str = ""
    pong: str = ""

    def options(self, *, calls: bool = False) -> list[str]:
        options = ["--path", self.path, "--expect", str(self.expects)]
        options += [part for said in self.says for part in ("--say", said)]
        options += ["--publish", self.echo if calls else self.publish]
        if self.ping:
            options += ["--ping", self.ping, "--pong", self.pong]
        return options


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: what the generator reports, and the server's CPU at each moment that it named, in user mode and in the
    kernel."""

    report: dict[str, Any]
    cpu_at: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """Seconds that the server used while measuring."""
        return sum(self.cpu_at["measured"]) - sum(self.cpu_at["measure"])

    @property
    def in_kernel(self) -> float:
        """How much of that it spent in the kernel."""
        return self.cpu_at["measured"][1] - self.cpu_at["measure"][1]

    @property
    def joining_cpu(self) -> float:
        return sum(self.cpu_at["joined"]) - sum(self.cpu_at["start"])


def compiled(source: str, directory: Path) -> Path:
    program = directory / Path(source).stem
    subprocess.run(["cc", "-O2", "-o", program, ROOT / "bench" / source], check=True)
    return program


def drive(
    program: Path,
    pid: int,
    port: int,
    options: list[str],
    at: Callable[[str], None] | None = None,
) -> Run:
    """Run the generator against a server. ``at`` is called at each moment, while the generator waits."""
    command = pinned(LOAD_CORE, program, "--port", str(port), *options)
    cpu_at: dict[str, tuple[float, float]] = {}
    report: dict[str, Any] = {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as generator:
        assert generator.stdin is not None
        assert generator.stdout is not None
        assert generator.stderr is not None
        watchdog = threading.Timer(SECONDS_AT_MOST, generator.kill)
        watchdog.start()
        try:
            for line in generator.stdout:
                if line.startswith("{"):
                    report = json.loads(line)
                    break
                cpu_at[line.strip()] = cpu_times(pid)
                if at is not None:
                    at(line.strip())
                generator.stdin.write("\n")
                generator.stdin.flush()
            said = generator.stderr.read()[-400:].strip()
        finally:
            watchdog.cancel()
            if not report:
                generator.kill()
    if not report:
        raise RunFailed(said or "the load generator ended without a word")
    if report["gone"]:
        raise RunFailed(f"{report['gone']} connections were lost")
    return Run(report=report, cpu_at=cpu_at)
