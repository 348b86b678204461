"""Programs of this machine: finding them, and running them so that none outlives the tests."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


class MissingProgram(Exception):
    """A program that a test needs is not on this machine."""

    def __init__(self, name: str, package: str) -> None:
        super().__init__(
            f"`{name}` is not on this machine. On Debian: apt-get install {package} (scripts/test does it as root). "
            "To run without what needs it, pass --allow-missing: those tests are then skipped."
        )
        self.name = name
        self.package = package


class ServerFailed(Exception):
    """A server ended or did not get ready in time; the message carries the end of its output."""


def find_program(*names: str, package: str, also_in: Sequence[Path] = ()) -> Path:
    """The first of `names` on the PATH, in the sbin directories or in `also_in`; raises `MissingProgram`."""
    places = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin", *map(str, also_in)]
    )
    for name in names:
        if found := shutil.which(name, path=places):
            return Path(found)
    raise MissingProgram(names[0], package)


def find_chromium() -> Path:
    """Chromium. The headless shell is preferred: it has no windows, which cost a whole browser more than a test's own page."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return find_program(*names, package=names[0])


def free_port() -> int:
    """A TCP port on 127.0.0.1 on which no process listens now.

    It is not among those that the kernel gives to the near ends of connections: a server that is killed may listen on it
    again, however many connections the machine has made since.
    """
    while True:
        port = _chance.randrange(FIRST_PORT, _first_of_the_kernels())
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


FIRST_PORT = 10_000
_chance = random.SystemRandom()  # tests seed the other one, and more than one run may be under way


def _first_of_the_kernels() -> int:
    """The lowest port that a connection may be given: Linux says so, and elsewhere it is IANA's (RFC 6335, 6)."""
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 49_152
    return lowest if lowest > FIRST_PORT + 1000 else 65_536


@dataclass(kw_only=True, slots=True)
class Server:
    """A running program, its output in a file beside its data, ended by its process id."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 30) -> None:
        """Return once `ready()`; raise `ServerFailed` if the program ends first or `seconds` go by."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise ServerFailed(
                    f"{self.name} ended with status {self.process.returncode}:\n{self.output()}"
                )
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} was not ready after {seconds:g} s:\n{self.output()}")
            time.sleep(0.02)

    def output(self, *, last: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-last:] if self.log.exists() else ""

    def stop(self, sig: signal.Signals = signal.SIGTERM, *, seconds: float = 10) -> None:
        """Send `sig`, wait, and kill what has not ended after `seconds`. Harmless on what has ended already."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(sig)
                # A stopped process gets the first signal only when it goes on.
                self.process.send_signal(signal.SIGCONT)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would, to the program and to what it has started: a master's workers go with it."""
        if self.process.poll() is None:  # afterwards another process may have its id
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    directory: Path,
    user: str | None = None,
    dies_by: signal.Signals = signal.SIGTERM,
    env: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> Server:
    """Start `command` in `directory`, or in `cwd`, as `user` if one is named.

    On Linux it gets `dies_by` from the kernel when the tests die without tearing down, so a killed run leaves
    no servers behind.
    """
    log = directory / f"{name}.log"
    prefix: list[str] = []
    if setpriv := shutil.which("setpriv"):
        prefix = [setpriv, "--pdeathsig", dies_by.name.removeprefix("SIG")]
        if user:
            prefix += ["--reuid", user, "--regid", user, "--init-groups"]
            user = None
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*prefix, *command],
            cwd=cwd or directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            user=user,
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C at the terminal is for pytest, which then tears down in order
        )
    return Server(name=name, process=process, log=log)


@contextlib.contextmanager
def removed_afterwards(directory: Path) -> Iterator[Path]:
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
