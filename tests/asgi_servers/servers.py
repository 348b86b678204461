"""The ASGI servers of the suite. Another one is another entry in `SERVERS`."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.services.processes import Server, free_port, start

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent

SHORT = "tests.asgi_servers.project.asgi:application"
EXPLICIT = "tests.asgi_servers.project.asgi_explicit:application"

#: Settings that keep limits and checks out of tests that are not about them.
PUBLISHING_SECRETS = {name: f"{name}-".ljust(40, "s") for name in ("shop", "old", "signed", "slow")}
GENEROUS = {
    "MESSAGE_RATE": "100000/s",
    "MESSAGE_BURST": 100000,
    "BYTE_RATE": "100000000/s",
    "BYTE_BURST": 100_000_000,
    "JOIN_RATE": "100000/s",
    "HANDSHAKE_RATE": None,
    "CONNECTIONS_PER_USER": None,
    "RATES_PER_USER": None,
    "ANSWERS_PER_USER": 1_000_000,
    "ANSWER_BYTES_PER_USER": 1_000_000_000,
    "PUBLISHING_KEYS": [
        {
            "NAME": "shop",
            "KEYS": [PUBLISHING_SECRETS["shop"], PUBLISHING_SECRETS["old"]],
            "TOPICS": ["rooms/*", "tickers/*", "news/*"],
        },
        {"NAME": "signed", "KEYS": [PUBLISHING_SECRETS["signed"]], "TOPICS": ["rooms/*"], "SIGNED": True},
        {"NAME": "slow", "KEYS": [PUBLISHING_SECRETS["slow"]], "TOPICS": ["rooms/*"], "RATE": "1/h"},
    ],
}
STRICT = {
    "HEARTBEAT_SECONDS": 0.4,
    "TOPICS_PER_CONNECTION": 3,
    "CALLS_PER_CONNECTION": 2,
    "MESSAGE_RATE": "5/s",
    "MESSAGE_BURST": 10,
}
IMPATIENT = {**GENEROUS, "STALL_SECONDS": 1}
SECRET = "only the tests sign tokens with this, and it is long enough for HS256"
GUARDED = {
    **GENEROUS,
    "AUTHENTICATOR": [
        "session",
        {
            "BACKEND": "holdfast.auth.jwt.JwtAuthenticator",
            "OPTIONS": {"algorithms": ["HS256"], "key": SECRET, "audience": "live"},
        },
        "ticket",
    ],
}

#: None of these belongs into a server's log.
TROUBLE = (
    "Traceback",
    "was never awaited",
    "wasn't used with future",
    "Task was destroyed",
    "Exception ignored",
    "never retrieved",
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One ASGI server: the command that starts it, and its capabilities.

    A test checks each capability in both directions: a server that gains one fails its test here, and
    `docs/how-to/servers.md` must then be corrected.
    """

    name: str
    command: Callable[[int, str], list[str]]
    explains_refusals: bool = True
    """Whether it has the ASGI extension `websocket.http.response`, so that a refusal has a body with the reason."""
    backpressure: bool = True
    """Whether `send` waits while the client does not read."""
    largest_message: int | None = None
    """Message size in bytes above which it fails to send."""
    says_goodbye: bool = False
    """Whether the application is notified of SIGTERM while the connections are still open."""
    close_at_shutdown: int = 1012
    """The close code with which SIGTERM ends a connection; 1006 is a connection that breaks off."""
    prefix_option: str = "--root-path"
    """The option for the path under which a proxy serves it."""
    allowed_in_log: tuple[tuple[str, str], ...] = ()
    """Regular expressions for log lines that are expected in spite of `TROUBLE`, each with the reason."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further settings of the project (`project.adoption`)."""


def _uvicorn(ws: str, *more: str) -> Callable[[int, str], list[str]]:
    return lambda port, app: ["uvicorn", "--ws", ws, *more, "--port", str(port), app]


_holdfast = _uvicorn("holdfast.server:WebSocketProtocol", "--http", "holdfast.server:HttpProtocol")


SERVERS = (
    Kind(
        name="daphne",
        command=lambda port, app: ["daphne", "-p", str(port), app],
        explains_refusals=False,
        backpressure=False,
        largest_message=1 << 20,
        close_at_shutdown=1006,
    ),
    Kind(
        name="uvicorn-sansio",
        command=_uvicorn("websockets-sansio", "--ws-max-size", "262144", "--ws-per-message-deflate", "false"),
        allowed_in_log=(
            (
                r"(?s)ERROR:\s+Invalid UTF-8 sequence received from client\.\nTraceback.*?UnicodeDecodeError: [^\n]*",
                "its own words about a client that breaks RFC 6455",
            ),
        ),
    ),
    Kind(name="holdfast", command=_holdfast, says_goodbye=True, close_at_shutdown=4000),
    Kind(name="holdfast-asgi", command=_holdfast, environment={"LIVE_ADOPTION": "no"}),
    Kind(name="uvicorn-wsproto", command=_uvicorn("wsproto")),
    Kind(name="uvicorn-websockets", command=_uvicorn("websockets")),
    Kind(
        name="hypercorn",
        command=lambda port, app: ["hypercorn", "-b", f"127.0.0.1:{port}", app],
        close_at_shutdown=1011,
        allowed_in_log=(
            (
                r"(?s)Exception in callback StreamReaderProtocol\.connection_made.*?exceptions\.CancelledError",
                "asyncio of Python 3.11 asks a connection's task that was cancelled at SIGTERM for its exception",
            ),
        ),
    ),
    Kind(
        name="granian",
        command=lambda port, app: ["granian", "--interface", "asgi", "--port", str(port), app],
        prefix_option="--url-path-prefix",
        close_at_shutdown=1006,
    ),
)


@dataclass(frozen=True, kw_only=True)
class User:
    id: str
    cookie: str


@dataclass(kw_only=True)
class Running:
    """A server that serves the project."""

    kind: Kind
    port: int
    process: Server
    users: dict[str, User]
    read_to: int = field(default=0)
    host: str = "127.0.0.1"
    """The name by which its clients know it."""

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def live(self) -> str:
        return self.socket("live/ws")

    def socket(self, path: str) -> str:
        return f"ws://{self.host}:{self.port}/{path}"

    def get(self, path: str, user: str | None = None) -> str:
        """Ask for a page."""
        headers = {"Host": f"{self.host}:{self.port}"}
        if user:
            headers["Cookie"] = self.users[user].cookie
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            text: str = response.read().decode()
            return text

    def state(self) -> dict[str, Any]:
        """Return the counts of the serving process (`project.views.state`)."""
        found: dict[str, Any] = json.loads(self.get("state/"))
        return found

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("me/").startswith("AnonymousUser")
        return False

    def new_output(self) -> str:
        """Return the server's output since the last call."""
        text = self.process.log.read_text(errors="replace")
        new, self.read_to = text[self.read_to :], len(text)
        return new


def environment_for(
    database: Path, holdfast: dict[str, Any] | None = None, databases: dict[str, Any] | None = None
) -> dict[str, str]:
    """Return the environment of a process that runs the project, on the SQLite file ``database`` or on ``databases``."""
    return {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "LIVE_DATABASE": str(database),
        "LIVE_DATABASES": json.dumps(databases),
        "LIVE_HOLDFAST": json.dumps(holdfast or {}),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A database with users who are signed in: a file to be copied for each server, or what ``databases`` names."""

    database: Path
    users: dict[str, User]
    databases: dict[str, Any] | None = None

    @classmethod
    def make(cls, directory: Path, databases: dict[str, Any] | None = None) -> "Prepared":
        database = directory / "prepared.sqlite3"
        printed = subprocess.run(
            [sys.executable, "-m", "tests.asgi_servers.project.prepare"],
            cwd=ROOT,
            env=environment_for(database, databases=databases),
            check=True,
            capture_output=True,
            text=True,
        )
        users = {name: User(**user) for name, user in json.loads(printed.stdout).items()}
        return cls(database=database, users=users, databases=databases)


@contextlib.contextmanager
def running(
    kind: Kind, prepared: Prepared, directory: Path, *, app: str = SHORT, holdfast: dict[str, Any]
) -> Iterator[Running]:
    """Serve the project, and end the server afterwards."""
    directory.mkdir(parents=True, exist_ok=True)
    database = directory / "live.sqlite3"
    if prepared.databases is None:
        shutil.copy(prepared.database, database)
    port = free_port()
    program, *arguments = kind.command(port, app)
    environment = {**environment_for(database, holdfast, prepared.databases), **kind.environment}
    process = start(kind.name, [BIN / program, *arguments], directory=directory, env=environment)
    server = Running(kind=kind, port=port, process=process, users=prepared.users)
    try:
        process.wait_until(server.ready)
        yield server
    finally:
        process.stop(seconds=20)


def soon(holds: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def settled(read: Callable[[], int], readings: int = 4) -> int:
    """Return a count of another process once it stands still, for :func:`soon`'s time at most. What tests before have left there ends
    by itself, and must not end between two counts that a test compares."""
    found: list[int] = []

    def still() -> bool:
        found.append(read())
        return len(found) >= readings and len(set(found[-readings:])) == 1

    soon(still)
    return found[-1]
