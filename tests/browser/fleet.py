"""Harbor as a fleet: two servers with PostgreSQL and Redis between them, of which one can be killed, and the bots' process."""

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.browser.harbor import MANAGE, environment, manage
from tests.services.processes import Server, free_port, start


@dataclass(kw_only=True)
class HarborServer:
    """One server of the fleet. A browser goes to it directly, so a test knows which server a person is on."""

    name: str
    directory: Path
    env: dict[str, str]
    port: int = field(default_factory=free_port)
    sessions: dict[str, str] = field(default_factory=dict)
    process: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, MANAGE, "holdfast", "serve", "--port", str(self.port)]
        self.process = start(self.name, command, directory=self.directory, env=self.env)
        self.process.wait_until(self._is_ready, seconds=60)

    def kill(self) -> None:
        """SIGKILL: the server says goodbye to no client, and gives nothing back to Redis."""
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(seconds=30)

    def output(self) -> str:
        return self.process.output(last=1_000_000) if self.process else ""

    def _is_ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/live/ready", timeout=5) as response:
            return bool(response.status == 200)
        return False


@dataclass(kw_only=True)
class HarborFleet:
    one: HarborServer
    two: HarborServer
    directory: Path
    env: dict[str, str]

    @contextmanager
    def bots(self) -> Iterator[None]:
        """Run the demo's bots, as ``scripts/demo --fleet`` does."""
        process = start("bots", [sys.executable, MANAGE, "bots"], directory=self.directory, env=self.env)
        try:
            yield
        finally:
            process.stop(seconds=20)


@contextmanager
def running_fleet(directory: Path, *, database: str, redis: str) -> Iterator[HarborFleet]:
    """Migrate and seed the database, and start two servers. A traceback in a server's log fails the test."""
    changes = {"HARBOR_DATABASE": database, "HARBOR_REDIS": redis}
    manage(directory, "migrate", "--verbosity", "0", changes=changes)
    manage(directory, "seed", changes=changes)
    env = environment(directory) | changes
    one, two = (HarborServer(name=f"server-{name}", directory=directory, env=env) for name in ("one", "two"))
    with ExitStack() as stack:
        for server in (one, two):
            stack.callback(server.stop)
            server.start()
        yield HarborFleet(one=one, two=two, directory=directory, env=env)
    for server in (one, two):
        assert "Traceback" not in server.output(), server.output()
