"""Starting one server of a peer: pinned to its core, on a free port, with an empty database, ended with the block."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.generator import Run, Speech, compiled, drive
from bench.machine import ROOT, SERVER_CORE, pinned
from tests.services.processes import free_port, start
from tests.services.redis import RedisServer, running_redis

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "holdfast-bench"
CENTRIFUGO = "github.com/centrifugal/centrifugo/v6@latest"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Something that serves a room. In ``command``, ``environment`` and ``files``, {port} and the names of
    :class:`Surroundings` are filled in."""

    key: str
    name: str
    command: tuple[str, ...]
    speech: Speech
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    """Which of the programs that :meth:`Surroundings.prepare` gets."""
    slow: bool = False
    """Is it so much slower than the others that a short run of it says enough?"""
    django: bool = False


@dataclass(kw_only=True)
class Surroundings:
    """Programs, a Redis and a folder that all servers share."""

    directory: Path
    redis: RedisServer
    load: Path
    floor: Path
    missing: dict[str, str] = field(default_factory=dict)
    """Programs that cannot be had here, and why."""

    def lacks(self, peer: Peer) -> str | None:
        return self.missing.get(peer.needs)

    def filled_in(self, text: str, port: int, directory: Path) -> str:
        values = {
            "{port}": str(port),
            "{python}": sys.executable,
            "{floor}": str(self.floor),
            "{peers}": str(ROOT / "bench" / "peers"),
            "{centrifugo}": str(CACHE / "centrifugo"),
            "{redis}": self.redis.url,
            "{directory}": str(directory),
        }
        for name, value in values.items():
            text = text.replace(name, value)
        return text


@contextlib.contextmanager
def surroundings(needed: set[str]) -> Iterator[Surroundings]:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as temporary, running_redis() as redis:
        directory = Path(temporary)
        yield Surroundings(
            directory=directory,
            redis=redis,
            load=compiled("load/load.c", directory),
            floor=compiled("peers/floor.c", directory),
            missing={name: why for name in needed if (why := _GET[name]())},
        )


def get_node() -> str | None:
    """Install the peers on Node.js from their lock; return why that is not possible."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "Node.js and npm are not on this machine"
    folder = ROOT / "bench" / "peers"
    stamp = folder / "node_modules" / ".package-lock.json"
    if stamp.exists() and stamp.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
        return None
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return f"npm ci failed: {_last_line(installed.stderr)}" if installed.returncode else None


def get_centrifugo() -> str | None:
    """Build Centrifugo, outside the project; return why that is not possible."""
    if (CACHE / "centrifugo").exists():
        return None
    if not shutil.which("go"):
        return "no Go toolchain on this machine"
    CACHE.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        ["go", "install", CENTRIFUGO],
        env={**os.environ, "GOBIN": str(CACHE)},
        cwd=CACHE,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return f"go install {CENTRIFUGO} failed: {_last_line(built.stderr)}" if built.returncode else None


def _last_line(text: str) -> str:
    return next(iter(reversed(text.strip().splitlines())), "it did not say why").strip()


_GET = {"": lambda: None, "node": get_node, "centrifugo": get_centrifugo}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that runs, and the way to load it."""

    peer: Peer
    pid: int
    port: int
    environment: dict[str, str]
    around: Surroundings

    def load(
        self,
        *options: str,
        calls: bool = False,
        speech: Speech | None = None,
        at: Callable[[str], None] | None = None,
    ) -> Run:
        """Run the load generator against it; ``at`` is called at each moment that the generator names."""
        spoken = (speech or self.peer.speech).options(calls=calls)
        return drive(self.around.load, self.pid, self.port, [*spoken, *options], at)

    def counters(self) -> dict[str, int]:
        """Return the counters of a Holdfast server (bench/hall/urls.py)."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counters", timeout=20) as answer:
            counted: dict[str, int] = json.load(answer)
        return counted

    def manage(self, *arguments: str) -> str:
        """Run a management command of a Django peer."""
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env=self.environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@contextlib.contextmanager
def served(peer: Peer, around: Surroundings) -> Iterator[Served]:
    port = free_port()
    directory = around.directory / f"{peer.key}-{time.monotonic_ns()}"
    directory.mkdir()
    for name, text in peer.files.items():
        (directory / name).write_text(around.filled_in(text, port, directory))
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        **{name: around.filled_in(value, port, directory) for name, value in peer.environment.items()},
    }
    if peer.django:
        around.redis.flush()
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "-v", "0"], env=environment, cwd=ROOT, check=True
        )
    command = [around.filled_in(part, port, directory) for part in peer.command]
    server = start(peer.key, pinned(SERVER_CORE, *command), directory=directory, env=environment)
    try:
        server.wait_until(lambda: listens(port))
        yield Served(peer=peer, pid=server.process.pid, port=port, environment=environment, around=around)
    finally:
        server.stop(seconds=15)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
