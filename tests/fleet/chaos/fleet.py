"""The fleet: servers, writers, nginx, Redis and PostgreSQL as real processes, and a proxy on every way between them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.services.nginx import TEMPLATE, site
from tests.services.postgres import USER, PostgresServer, running_postgres
from tests.services.processes import Server, find_program, free_port, start
from tests.services.redis import RedisServer, running_redis

from .proxy import Proxy

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
DATABASE = "fleet"
READY_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The size of a fleet, and its backplane."""

    servers: int = 3
    writers: int = 3
    rooms: int = 6
    backplane: str = "redis"
    daphne: bool = False
    """Whether the last server is Daphne instead of ``manage.py holdfast serve``."""
    sabotage: str = ""
    holdfast: dict[str, Any] = field(default_factory=dict)


class Node:
    """A process that can be killed, paused, and started again. A caller that does any of these holds its ``lock``.

    If the run is killed the kernel sends it ``dies_by``. The default also ends a stopped process; only a master that has to
    end its workers needs another signal.
    """

    def __init__(
        self,
        name: str,
        command: list[str | Path],
        directory: Path,
        environment: dict[str, str],
        dies_by: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self._dies_by = dies_by
        self.lock = asyncio.Lock()
        self._command = command
        self._directory = directory
        self._environment = environment
        self._server: Server | None = None

    @property
    def runs(self) -> bool:
        return self._server is not None and self._server.process.poll() is None

    def start(self) -> None:
        if not self.runs:
            self._server = start(
                self.name, self._command,
                directory=self._directory, env=self._environment, dies_by=self._dies_by,
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        if self._server is not None and self.runs:
            with contextlib.suppress(ProcessLookupError):
                self._server.process.send_signal(number)

    def kill(self) -> None:
        """Kill it and the processes that it has started: an nginx worker would run on without its master."""
        if self._server is not None:
            self._server.kill()

    async def terminate(self, seconds: float) -> bool:
        """SIGTERM. ``False`` if it had to be killed after so many seconds."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        deadline = asyncio.get_running_loop().time() + seconds
        while self.runs and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.05)
        if not self.runs:
            return True
        self.kill()
        return False


class ServerNode(Node):
    """A server, which can be asked whether it is ready."""

    port: int

    async def wait_until_ready(self) -> None:
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(self._is_ready):
                if not self.runs and "address already in use" in self.output():
                    self.start()  # the port is taken for a moment, as the near end of a connection
                elif not self.runs:
                    raise RuntimeError(f"{self.name} ended while it started:\n{self.output()}")
                await asyncio.sleep(0.05)

    def show_stacks(self) -> None:
        """Make it write the stacks of its threads into its log (``project/apps.py``)."""
        self.signal(signal.SIGUSR1)

    def output(self) -> str:
        return self._server.output() if self._server else ""

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready/", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


ONE_ADDRESS = {
    "limit_req_zone": "$binary_remote_addr zone=holdfast_handshakes:10m rate=3000r/s",
    "limit_req": "zone=holdfast_handshakes burst=3000 nodelay",
}
"""The limits of nginx are those of one address, which here is the address of every client."""


@dataclass(kw_only=True)
class Services:
    """PostgreSQL and Redis for a fleet. They start before it, and serve several fleets one after the other.

    ``template`` is the database that each fleet's begins as: an empty one, or one with the tables.
    """

    postgres: PostgresServer
    redis: RedisServer
    nginx: Path
    template: str = "template1"

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Self]:
        nginx = find_program("nginx", package="nginx")
        with running_postgres() as postgres, running_redis() as redis:
            yield cls(postgres=postgres, redis=redis, nginx=nginx)


class Fleet:
    """All processes of one run. Their logs and journals are in ``directory``."""

    def __init__(self, setup: Setup, services: Services, directory: Path, seed: int) -> None:
        self.setup = setup
        self.services = services
        self.directory = directory
        self.seed = seed
        self.proxies: dict[str, Proxy] = {}
        self.servers: list[ServerNode] = []
        self.writers: list[Node] = []
        self.nginx: Node
        self.nginx_port = free_port()
        self._ports = [free_port() for _ in range(setup.servers)]

    @contextlib.asynccontextmanager
    async def standing(self) -> AsyncIterator[Self]:
        """Proxies and processes are made; nothing runs yet. All that was started ends with the block."""
        async with contextlib.AsyncExitStack() as stack:
            postgres = ("127.0.0.1", self.services.postgres.port)
            redis = ("127.0.0.1", self.services.redis.port)
            ways = {f"web-{n}": ("127.0.0.1", port) for n, port in enumerate(self._ports)}
            ways |= {f"redis-{n}": redis for n in range(self.setup.servers)}
            ways |= {f"postgres-{n}": postgres for n in range(self.setup.servers)}
            ways |= {f"postgres-w{n}": postgres for n in range(self.setup.writers)}
            for name, target in ways.items():
                self.proxies[name] = await stack.enter_async_context(Proxy(name, target, seed=self.seed))
            self.servers = [self._server(number) for number in range(self.setup.servers)]
            self.writers = [self._writer(number) for number in range(self.setup.writers)]
            self.nginx = self._nginx()
            try:
                yield self
            finally:
                for node in (*self.writers, *self.servers, self.nginx):
                    node.kill()

    def environment(self, *, postgres: int, redis: int) -> dict[str, str]:
        """Return the environment of a process that reaches PostgreSQL and Redis at these ports."""
        database = {"NAME": DATABASE, "USER": USER, "HOST": "127.0.0.1", "PORT": str(postgres)}
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.fleet.project.settings",
            "FLEET_DATABASE": json.dumps(database),
            "FLEET_REDIS": f"redis://127.0.0.1:{redis}/0",
            "FLEET_BACKPLANE": self.setup.backplane,
            "FLEET_HOLDFAST": json.dumps(self.setup.holdfast),
            "FLEET_ROOMS": str(self.setup.rooms),
            "FLEET_SABOTAGE": self.setup.sabotage,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def direct(self) -> dict[str, str]:
        """The environment of processes whose connections have no faults."""
        return self.environment(postgres=self.services.postgres.port, redis=self.services.redis.port)

    def _server(self, number: int) -> ServerNode:
        port = self._ports[number]
        if self.setup.daphne and number == self.setup.servers - 1:
            command: list[str | Path] = [
                BIN / "daphne",
                "-p",
                str(port),
                "tests.fleet.project.asgi:application",
            ]
        else:
            command = [sys.executable, "-m", "django", "holdfast", "serve", "--port", str(port)]
        environment = self.environment(
            postgres=self.proxies[f"postgres-{number}"].port, redis=self.proxies[f"redis-{number}"].port
        )
        node = ServerNode(f"server-{number}", command, self.directory, environment)
        node.port = port
        return node

    def _writer(self, number: int) -> Node:
        name = f"writer-{number}"
        # Each life of a writer has values of its own: the shell gives it its process id.
        command: list[str | Path] = [
            "/bin/sh", "-c",
            f'exec "{sys.executable}" -m tests.fleet.chaos.writer w{number}-$$ {self.seed} "{self.directory}/{name}.jsonl" 8',
        ]  # fmt: skip
        environment = self.environment(
            postgres=self.proxies[f"postgres-w{number}"].port, redis=self.services.redis.port
        )
        return Node(name, command, self.directory, environment)

    def _nginx(self) -> Node:
        """Make an nginx with the file of `deploy/nginx` that users copy, in front of the servers' proxies."""
        directory = self.directory / "nginx"
        directory.mkdir()
        upstreams = [f"127.0.0.1:{self.proxies[f'web-{n}'].port}" for n in range(self.setup.servers)]
        text = NGINX % {
            "user": "user root;" if os.geteuid() == 0 else "",
            "directory": directory,
            "site": site(
                TEMPLATE.read_text(),
                listen=f"127.0.0.1:{self.nginx_port}",
                servers=upstreams,
                changes=ONE_ADDRESS,
            ),
        }
        (directory / "nginx.conf").write_text(text)
        command: list[str | Path] = [
            self.services.nginx, "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr",
        ]  # fmt: skip
        return Node("nginx", command, self.directory, dict(os.environ), signal.SIGTERM)


NGINX = """%(user)s
daemon off;
worker_processes 1;
error_log stderr warn;
pid %(directory)s/nginx.pid;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path %(directory)s/body;
  proxy_temp_path %(directory)s/proxy;
  fastcgi_temp_path %(directory)s/fastcgi;
  uwsgi_temp_path %(directory)s/uwsgi;
  scgi_temp_path %(directory)s/scgi;
  add_header X-Upstream $upstream_addr always;
%(site)s
}
"""
