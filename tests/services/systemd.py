"""A machine with a systemd of its own, booted by systemd-nspawn in a few seconds and without a download.

It has this machine's `/usr`, read-only, and everything else empty and in memory (`--volatile=yes`), its own processes and
network, and none of Debian's services. So it can run units that should not run on a developer's own machine.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.services.processes import Server, ServerFailed, find_program, removed_afterwards, start

PACKAGE = "systemd-container"


class NoMachine(Exception):
    """This user, or this kernel, does not let systemd-nspawn boot one; the message is its own."""


@dataclass(kw_only=True, slots=True)
class Machine:
    """`leader` is the process id, seen from outside, of its process 1."""

    nspawn: Server
    leader: int

    def run(self, *command: str, check: bool = True, seconds: float = 30) -> str:
        """Run a command inside, and return what it prints."""
        done = subprocess.run(
            ["nsenter", "--target", str(self.leader), "--all", "--wd=/", *command],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8"},
        )
        if check and done.returncode:
            raise ServerFailed(
                f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout.strip()

    def systemctl(self, *arguments: str, check: bool = True, seconds: float = 60) -> str:
        return self.run("systemctl", "--no-pager", *arguments, check=check, seconds=seconds)

    def property(self, unit: str, name: str) -> str:
        return self.systemctl("show", "--value", "--property", name, unit)

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output", "cat", "--unit", unit)

    def path(self, path: str) -> Path:
        """Return the path outside of a path of the machine."""
        return Path(f"/proc/{self.leader}/root{path}")

    def is_up(self) -> bool:
        return self.run("systemctl", "is-system-running", check=False) in ("running", "degraded")


@contextlib.contextmanager
def running_machine(binds: Mapping[Path, str]) -> Iterator[Machine]:
    """`binds` says what is to be seen at which path in it, read-only but for what is below `/srv`.

    Raises `NoMachine` where none can be booted, and `MissingProgram` where systemd-nspawn is not installed.
    """
    program = find_program("systemd-nspawn", package=PACKAGE)
    find_program("nsenter", package="util-linux")
    base = [program, "--quiet", "--directory=/", "--volatile=yes", "--private-network", "--register=no"]
    name = f"holdfast-{uuid4().hex[:12]}"  # the name of a folder may end in what a host name may not
    with (
        removed_afterwards(Path(tempfile.mkdtemp(prefix="holdfast-machine-"))) as directory,
        contextlib.ExitStack() as stack,
    ):
        if not Path("/run/systemd/system").is_dir():  # no systemd out here could make a scope for it
            base = [*stack.enter_context(_in_control_group(name)), *base, "--keep-unit"]
        (directory / "none.preset").write_text("disable *\n")
        base += [
            f"--machine={name}",
            f"--bind-ro={directory / 'none.preset'}:/etc/systemd/system-preset/00-none.preset",
            *(
                f"--bind{'' if at.startswith('/srv') else '-ro'}={source}:{at}"
                for source, at in binds.items()
            ),
        ]
        _try_out([*base, "/bin/true"])
        nspawn = start("nspawn", [*base, "--boot", "--console=pipe"], directory=directory)
        try:
            leader: list[int] = []

            def is_up() -> bool:
                leader[:] = _children(nspawn.process.pid)
                return bool(leader) and Machine(nspawn=nspawn, leader=leader[0]).is_up()

            nspawn.wait_until(is_up, seconds=50)
            yield Machine(nspawn=nspawn, leader=leader[0])
        finally:
            nspawn.stop(seconds=20)


HIERARCHIES = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
"""Directories below which systemd keeps track of the processes of its units, in the three set-ups that it knows."""


@contextlib.contextmanager
def _in_control_group(name: str) -> Iterator[list[str | Path]]:
    """The beginning of a command that runs in a control group of its own.

    The systemd of a machine makes groups below its own. Two machines in one group would take the processes of each other's
    units for theirs: they would wait for them, and kill them.
    """
    tops = [Path(top) for top in HIERARCHIES if Path(top, "cgroup.procs").exists()]
    groups = [top / name for top in tops]
    enter = 'for group in "${@:2:$1}"; do echo $$ >"$group/cgroup.procs" || exit; done; exec "${@:2 + $1}"'
    try:
        for group in groups:
            group.mkdir()
    except OSError as error:
        raise NoMachine(f"a control group cannot be made here: {error}") from error
    try:
        yield ["bash", "-c", enter, "bash", str(len(groups)), *groups]
    finally:
        for group in groups:
            _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group with all below it. Processes that were killed may stay in it for a moment."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            for below in sorted(group.rglob("*/"), reverse=True):  # the deepest first
                below.rmdir()
            group.rmdir()
            return
        time.sleep(0.1)


def _try_out(command: list[str | Path]) -> None:
    if os.geteuid() != 0:
        raise NoMachine("systemd-nspawn needs root")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=50, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise NoMachine(f"systemd-nspawn cannot boot here: {done.stderr.strip()}")


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
