"""Events between the processes of one machine, without a service between them."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.test import override_settings
from websockets.asyncio.client import ClientConnection, connect

from holdfast import conf, installation, wiring
from holdfast.backplane.channels import ChannelsBackplane
from holdfast.backplane.layers import WithGroups
from holdfast.backplane.local import LocalBackplane
from holdfast.backplane.memory import MemoryBackplane
from tests.services.processes import Server, free_port

SETTINGS = """
from pathlib import Path
DEBUG = True
SECRET_KEY = "x"
ROOT_URLCONF = "site_of_a_shop"
INSTALLED_APPS = [
    "holdfast", "shop", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.staticfiles",
]
STATIC_URL = "static/"
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"},
}}
HOLDFAST = {"RECONCILE_SECONDS": 3600}
"""
LIVE = """
from holdfast import Event, Keep, Topic

class Tick(Event):
    n: int

class Ticks(Topic):
    route = "ticks"
    events = [Tick]

    def may_join(self, user):
        return True

class Orders(Topic):
    route = "orders"
    events = [Tick]
    keep = Keep(days=1)

    def may_join(self, user):
        return True
"""
COMMAND = """
from django.core.management.base import BaseCommand
from shop.live import Orders, Tick, Ticks

class Command(BaseCommand):
    def handle(self, **options):
        for n in range(825):
            Ticks().publish(Tick(n=n))
        for n in range(10):
            Orders().publish(Tick(n=n))
"""
TICKS, ORDERS = 825, 10

Start = Callable[..., int]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for temporary files, whose path leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="hf-") as path:
        yield Path(path)


@pytest.fixture
def manage(tmp_path: Path, folder: Path) -> list[Any]:
    """Return the arguments of a command of the project, and the other arguments for Popen."""
    commands = tmp_path / "shop" / "management" / "commands"
    commands.mkdir(parents=True)
    for package in (commands, commands.parent, commands.parent.parent):
        (package / "__init__.py").touch()
    (commands / "feed.py").write_text(COMMAND)
    (tmp_path / "shop" / "live.py").write_text(LIVE)
    (tmp_path / "settings_of_a_shop.py").write_text(SETTINGS)
    (tmp_path / "site_of_a_shop.py").write_text("urlpatterns = []\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "settings_of_a_shop",
        "TMPDIR": str(folder),
    }
    return [[sys.executable, "-m", "django"], {"cwd": tmp_path, "env": environment}]


@pytest.fixture
def start(manage: list[Any], tmp_path: Path) -> Iterator[Start]:
    command, options = manage
    subprocess.run([*command, "migrate", "--verbosity", "0"], check=True, **options)
    started: list[Server] = []

    def start(ready: str, times: int, *arguments: str) -> int:
        port, output = free_port(), tmp_path / "output"
        with output.open("wb") as log:
            process = subprocess.Popen(
                [*command, *(argument.format(port=port) for argument in arguments)],
                stdout=log,
                stderr=subprocess.STDOUT,
                **options,
            )
        server = Server(name="server", process=process, log=output)
        started.append(server)
        server.wait_until(lambda: server.output().count(ready) >= times)
        return port

    yield start
    for server in started:
        server.stop()
    output = started[0].output() if started else ""
    assert "Traceback" not in output
    assert "dropped" not in output


async def member(port: int) -> ClientConnection:
    for _ in range(100):
        try:
            socket = await connect(f"ws://127.0.0.1:{port}/live/ws", origin=f"http://127.0.0.1:{port}")  # type: ignore[arg-type]
            break
        except OSError:
            await asyncio.sleep(0.1)
    await socket.send('{"type":"hello"}')
    await socket.send('{"type":"join","ref":1,"topic":"ticks"}')
    await socket.send('{"type":"join","ref":2,"topic":"orders"}')
    async with asyncio.timeout(20):
        kinds = [msgspec.json.decode(await socket.recv())["type"] for _ in range(3)]
    assert kinds == ["welcome", "joined", "joined"]
    return socket


async def heard(socket: ClientConnection) -> dict[str, list[int]]:
    """Return the numbers of the events of each topic, in order, once all have arrived."""
    numbers: dict[str, list[int]] = {"ticks": [], "orders": []}
    async with asyncio.timeout(30):
        while len(numbers["ticks"]) < TICKS or len(numbers["orders"]) < ORDERS:
            frame = msgspec.json.decode(await socket.recv())
            frames = frame["payload"] if frame["type"] == "events" else [frame]
            for event in frames:
                if event["type"] == "event":
                    numbers[event["topic"]].append(event["payload"]["n"])
    return numbers


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("ready", "times", "arguments", "members"),
    [
        pytest.param("serves HTTP", 1, ("runserver", "--noreload", "127.0.0.1:{port}"), 2, id="runserver"),
        pytest.param(
            "startup complete",
            2,
            ("holdfast", "serve", "--workers", "2", "--port", "{port}"),
            8,
            id="two-workers",
        ),
    ],
)
async def test_an_event_that_a_command_publishes_reaches_every_client_at_once(
    start: Start, manage: list[Any], ready: str, times: int, arguments: tuple[str, ...], members: int
) -> None:
    """Ephemeral events all arrive, in order; durable ones arrive although no process compares with the log."""
    port = start(ready, times, *arguments)
    sockets = [await member(port) for _ in range(members)]
    command, options = manage
    feeding = await asyncio.create_subprocess_exec(*command, "feed", **options)
    found = await asyncio.gather(*map(heard, sockets))
    assert await feeding.wait() == 0
    assert found == [{"ticks": list(range(TICKS)), "orders": list(range(ORDERS))}] * members
    for socket in sockets:
        await socket.close()


# ── which processes belong together ──────────────────────────────────────────────────────────────────────────────────


overriding = pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")

FILE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/shop/db.sqlite3"}}
POSTGRES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "HOST": "db"}}


def place(**settings: Any) -> Path | None:
    with override_settings(**{"SECRET_KEY": "shop", "DATABASES": FILE, **settings}):
        return installation.folder("default")


@overriding
def test_an_installation_is_a_project_on_a_database() -> None:
    assert place() == place()
    different = [
        place(),
        place(SECRET_KEY="another project"),
        place(DATABASES={"default": {**FILE["default"], "NAME": "/srv/shop/test_db.sqlite3"}}),
        place(DATABASES=POSTGRES),
        place(DATABASES={"default": {**POSTGRES["default"], "HOST": "elsewhere"}}),
        place(DATABASES={"default": {**POSTGRES["default"], "NAME": "test_shop"}}),
    ]
    assert len(set(different)) == len(different)
    assert str(os.getuid()) in (place() or Path()).name


@overriding
def test_a_script_without_a_secret_key_can_publish() -> None:
    assert place(SECRET_KEY="") not in (None, place())


@overriding
def test_the_working_directory_of_a_process_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = {"ENGINE": "django.db.backends.sqlite3"}
    monkeypatch.chdir(tmp_path)
    relative = place(DATABASES={"default": {**engine, "NAME": "db.sqlite3"}})
    assert relative == place(DATABASES={"default": {**engine, "NAME": tmp_path / "db.sqlite3"}})


@overriding
@pytest.mark.parametrize("name", [":memory:", "file:memorydb_default?mode=memory&cache=shared"])
def test_a_process_with_a_private_database_is_an_installation_by_itself(name: str) -> None:
    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name}}
    assert place(DATABASES=databases) is None
    with override_settings(DATABASES=databases):
        assert isinstance(built(), MemoryBackplane)


# ── what "auto" comes to ─────────────────────────────────────────────────────────────────────────────────────────────


IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
REAL = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}


def built(**holdfast: Any) -> Any:
    chosen, problems = conf.read(holdfast)
    assert not problems
    return wiring.build_backplane(chosen)


@overriding
@pytest.mark.parametrize("debug", [True, False])
def test_processes_of_one_machine_reach_each_other_by_default(debug: bool) -> None:
    with override_settings(DATABASES=FILE, CHANNEL_LAYERS={}, DEBUG=debug):
        assert isinstance(built(), LocalBackplane)
        assert isinstance(built(BACKPLANE="local"), LocalBackplane)
        assert isinstance(built(BACKPLANE="memory"), MemoryBackplane)
    with override_settings(DATABASES=FILE, CHANNEL_LAYERS=IN_MEMORY, DEBUG=debug):
        assert isinstance(built(), WithGroups)
        assert isinstance(built().inner, LocalBackplane)
    with override_settings(DATABASES=FILE, CHANNEL_LAYERS=REAL, DEBUG=debug):
        assert isinstance(built(), ChannelsBackplane)


@overriding
def test_unreachable_processes_are_named_in_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with override_settings(DATABASES=FILE, CHANNEL_LAYERS={}):
        assert isinstance(built(), MemoryBackplane)
        assert not wiring.reaches_other_processes(conf.Settings())
    (record,) = caplog.records
    assert "/nowhere/at/all cannot be written to" in record.getMessage()
    assert "set REDIS" in record.getMessage()
