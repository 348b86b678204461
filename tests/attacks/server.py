"""A real server under attack: ``manage.py holdfast serve`` as its own process, its memory and its log.

::

    with attacked(tmp_path, prepared) as server:
        quiet = probe(server, seconds=2)
        with flood(server, frame(PING) * 1000, connections=50):
            loud = probe(server, seconds=2)
        assert loud.p99 < allowed(quiet)

The project that it serves is ``tests/asgi_servers/project``, with Holdfast's default limits unless a test changes them.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.asgi_servers.servers import TROUBLE, Kind, Prepared, Running, running

SERVE = ["python", "-m", "django", "holdfast", "serve"]
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.asgi_servers.project.settings"}

MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """The server under attack. ``running`` is for the kit of ``tests/asgi_servers`` (``Live``, ``Raw``)."""

    running: Running

    @property
    def port(self) -> int:
        return self.running.port

    @property
    def pid(self) -> int:
        return self.running.process.process.pid

    def memory(self) -> int:
        """Resident bytes of the process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Seconds of processor time that the process has used.

        It is the clock of clock_getcpuclockid(3): ``/proc`` counts in hundredths, and a request may cost less.
        """
        return time.clock_gettime((~self.pid << 3) | 2)

    def sockets(self) -> int:
        """Open sockets of the process."""
        count = 0
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed since it was listed
                count += str(link.readlink()).startswith("socket:")
        return count

    def output(self) -> str:
        """Everything that the server has written to its log."""
        return self.running.process.log.read_text(errors="replace")

    def alive(self) -> bool:
        return self.running.process.process.poll() is None

    def assert_well(self, expected: str | None = None) -> None:
        """Fail if the server has ended, or has words of :data:`TROUBLE` in its log (but for one that is ``expected``)."""
        assert self.alive(), f"the server has ended:\n{self.output()[-4000:]}"
        self.assert_no_trouble(expected)

    def assert_no_trouble(self, expected: str | None = None) -> None:
        wrong = [word for word in TROUBLE if word != expected and word in self.output()]
        assert not wrong, f"{wrong} in the server's log:\n{self.output()[-4000:]}"


@contextlib.contextmanager
def attacked(
    directory: Path,
    prepared: Prepared,
    *options: str,
    holdfast: dict[str, Any] | None = None,
    expected: str | None = None,
) -> Iterator[Attacked]:
    """Serve the project with ``options`` of the command and ``holdfast`` as settings.

    At the end the server must still live, and its log must have no traceback (but for words of :data:`TROUBLE` that are
    ``expected``).
    """
    kind = Kind(
        name="attacked",
        command=lambda port, _: [*SERVE, "--port", str(port), *options],
        environment=SETTINGS,
    )
    with running(kind, prepared, directory, holdfast=holdfast or {}) as started:
        server = Attacked(running=started)
        yield server
        server.assert_well(expected)
    server.assert_no_trouble(expected)


class Memory:
    """The server's memory since this object was made. It samples in its own thread only while :meth:`highest` runs."""

    def __init__(self, server: Attacked) -> None:
        self._server = server
        self.start = server.memory()

    @property
    def grown(self) -> int:
        return self._server.memory() - self.start

    def highest(self, seconds: float, until: Callable[[], bool] = lambda: False) -> int:
        """Watch for ``seconds``, or ``until`` holds. Return by how many bytes the memory grew at most."""
        end, most = time.monotonic() + seconds, self.grown
        while time.monotonic() < end and not until():
            most = max(most, self.grown)
            time.sleep(0.02)
        return most
