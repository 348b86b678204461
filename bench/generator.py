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
EXIT_REFUSED = 3
"""The generator's exit status when a join or a handshake was refused."""


class RunFailed(Exception):
    """The load generator could not do what it was asked to; the message says why."""


class Refused(RunFailed):
    """The server refused what it was asked to, or did not answer: what was measured is not what was to be measured."""


@dataclass(frozen=True, kw_only=True)
class Speech:
    """The messages of a server's clients. ``%b`` is an event's body, ``%n`` a new number."""

    path: str
    publish: str
    says: tuple[str, ...] = ()
    expects: int = 1
    """Number of messages that a client receives before it counts as a member."""
    echo: str = ""
    """A request whose answer is its body."""
    refusal: str = ""
    """What only the answers contain that say no."""
    ping: str = ""
    pong: str = ""

    def options(self, *, calls: bool = False) -> list[str]:
        options = ["--path", self.path, "--expect", str(self.expects)]
        options += [part for said in self.says for part in ("--say", said)]
        options += ["--publish", self.echo if calls else self.publish]
        if self.refusal:
            options += ["--refusal", self.refusal]
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
        """Seconds of that in the kernel."""
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
    if generator.returncode == EXIT_REFUSED:
        raise Refused(said)
    if not report:
        raise RunFailed(said or "the load generator ended without a word")
    check(report, said)
    return Run(report=report, cpu_at=cpu_at)


def check(report: dict[str, Any], said: str = "") -> None:
    """Raise an error for a report whose figures do not hold. ``said`` is what the generator wrote on its standard error."""
    if report["gone"]:
        raise RunFailed(f"{report['gone']:,} connections were lost")
    if report["refused"]:
        raise Refused(
            f"the server refused {report['refused']:,} of {report['requests']:,} requests. Raise the limit that they met, or ask "
            f"for less. The first refusal: {said.splitlines()[0] if said else 'see above'}"
        )
    if report["unanswered"]:
        raise Refused(
            f"{report['unanswered']:,} of {report['requests']:,} requests had no answer, or were events that did not come back to "
            "their publisher: fewer were in flight than the figure would claim"
        )
