"""Holdfast as `pip install holdfast` installs it, in an environment without its extras.

It can run a project on SQLite. Redis, PostgreSQL and Channels' layer in Redis are extras. A project that uses one without
having it gets an error that names the package to install.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.services.processes import Server, free_port, start

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"

pytestmark = pytest.mark.slow

ASGI = """

from holdfast.asgi import with_live_topics
application = with_live_topics(application)
"""

LIVE = """
from holdfast import Event, Keep, Presence, Topic


class Said(Event):
    body: str


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep(days=1)
    presence = Presence()

    def may_join(self, user):
        return True
"""

SETTINGS = """
import json, os
INSTALLED_APPS = ["holdfast", *INSTALLED_APPS, "rooms"]
ASGI_APPLICATION = "shop.asgi.application"
globals().update(json.loads(os.environ.get("MORE_SETTINGS", "{}")))
"""

PUBLISH = "from rooms.live import Room, Said; Room(room='lobby').publish(Said(body='ahoy'))"


class Project:
    """A new Django project with a live topic, and the Python of an environment with Holdfast and without extras."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.python = folder, python

    def environment(self, settings: dict[str, Any]) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DJANGO_", "PYT", "VIRTUAL"))
        }
        return kept | {"MORE_SETTINGS": json.dumps(settings), "PYTHONUNBUFFERED": "1"}

    def run(self, *command: str, fails: bool = False, **settings: Any) -> str:
        """Return the output of a Python command, which must succeed, or fail."""
        done = subprocess.run(
            [self.python, *command],
            cwd=self.folder,
            env=self.environment(settings),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert bool(done.returncode) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *command: str, **settings: Any) -> Server:
        return start(
            command[-1].replace("/", "-"),
            [self.python, *command],
            directory=self.folder,
            env=self.environment(settings),
        )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with only the requirements of the wheel, in the locked versions."""
    folder = tmp_path_factory.mktemp("bare")
    python = folder / "venv" / "bin" / "python"

    def run(*command: str | Path, check: bool = True) -> bool:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.returncode == 0

    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    install = (UV, "pip", "install", "--quiet", "--python", python)
    locked = ("--require-hashes", "-r", "requirements/runtime.txt")
    # scripts/environment has most likely left these in uv's cache.
    run(*install, "--offline", *locked, check=False) or run(*install, *locked)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    [wheel] = folder.glob("*.whl")
    run(*install, "--offline", "--no-deps", wheel)
    run(UV, "pip", "check", "--python", python)  # all that the wheel requires is there
    return python


@pytest.fixture(scope="module")
def project(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"), bare)
    made.run("-m", "django", "startproject", "shop", ".")
    (made.folder / "rooms").mkdir()
    (made.folder / "rooms" / "__init__.py").touch()
    (made.folder / "rooms" / "live.py").write_text(LIVE)
    for name, more in (("settings.py", SETTINGS), ("asgi.py", ASGI)):
        with (made.folder / "shop" / name).open("a") as file:
            file.write(more)
    made.run("manage.py", "migrate", "--verbosity", "0")
    return made


@pytest.mark.parametrize("name", ["redis", "hiredis", "psycopg", "channels_redis"])
def test_the_bare_environment_lacks_what_belongs_to_an_extra(project: Project, name: str) -> None:
    assert f"No module named '{name}'" in project.run("-c", f"import {name}", fails=True)


@pytest.fixture(params=["runserver --noreload", "holdfast serve --port"])
def served(project: Project, request: pytest.FixtureRequest) -> Iterator[int]:
    port = free_port()
    server = project.start("manage.py", *request.param.split(), str(port))
    try:
        server.wait_until(lambda: f":{port}" in server.output() and _accepts(port))
        yield port
    finally:
        server.stop()
    assert "Traceback" not in server.output()


def _accepts(port: int) -> bool:
    try:
        connect(f"ws://127.0.0.1:{port}/live/ws", origin=Origin(f"http://127.0.0.1:{port}")).close()
    except ConnectionRefusedError:
        return False
    except Exception:
        return True  # it listens; the test says what is wrong
    return True


def test_a_new_project_serves_live_topics_without_any_extra(project: Project, served: int) -> None:
    with connect(
        f"ws://127.0.0.1:{served}/live/ws",
        origin=Origin(f"http://127.0.0.1:{served}"),
        subprotocols=[Subprotocol("holdfast.v1.json")],
    ) as client:

        def ask(**message: Any) -> dict[str, Any]:
            client.send(json.dumps(message))
            return receive()

        def receive() -> dict[str, Any]:
            message: dict[str, Any] = json.loads(client.recv(timeout=20))
            return message if message["type"] != "presence" else receive()

        assert ask(type="hello")["type"] == "welcome"
        assert ask(type="join", ref=1, topic="rooms/lobby")["type"] == "joined"
        project.run("manage.py", "shell", "--command", PUBLISH)
        assert receive()["payload"] == {"body": "ahoy"}


REDIS = {"HOLDFAST": {"REDIS": "redis://127.0.0.1:1/0"}}
LAYER = {
    "HOLDFAST": {"BACKPLANE": "channels"},
    "CHANNEL_LAYERS": {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}},
}
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


@pytest.mark.parametrize(
    ("settings", "expected", "extra"),
    [
        (REDIS, 'HOLDFAST["REDIS"] is set, but these packages are not installed: hiredis and redis', "redis"),
        (
            LAYER,
            'CHANNEL_LAYERS["default"] is in Redis, but this package is not installed: channels_redis',
            "channels-redis",
        ),
        (
            {"DATABASES": {"default": POSTGRESQL}},
            'DATABASES["default"] is PostgreSQL, but this package is not installed: psycopg',
            "postgresql",
        ),
        (
            {"DATABASES": {"default": SQLITE, "live": POSTGRESQL}, "HOLDFAST": {"DATABASE": "live"}},
            'DATABASES["live"] is PostgreSQL, but this package is not installed: psycopg',
            "postgresql",
        ),
    ],
)
@pytest.mark.parametrize("command", ["check", "runserver --noreload", "holdfast serve"])
def test_a_missing_extra_is_named_before_anything_starts(
    project: Project, command: str, settings: dict[str, Any], expected: str, extra: str
) -> None:
    said = project.run("manage.py", *command.split(), fails=True, **settings)
    assert expected in said
    assert f"pip install 'holdfast[{extra}]'" in said


@pytest.mark.parametrize("settings", [REDIS, LAYER])
def test_a_server_that_checks_nothing_says_so_when_it_starts(
    project: Project, settings: dict[str, Any]
) -> None:
    said = project.run(
        "-m", "uvicorn", "shop.asgi:application", "--port", str(free_port()), fails=True, **settings
    )
    assert "pip install 'holdfast[" in said


def test_publishing_without_the_redis_that_is_named_says_what_to_install(project: Project) -> None:
    said = project.run("manage.py", "shell", "--command", PUBLISH, fails=True, **REDIS)
    assert "pip install 'holdfast[redis]'" in said


def test_a_redis_needs_its_extra_also_if_only_limits_count_there(project: Project) -> None:
    settings = {"HOLDFAST": {"REDIS": "redis://127.0.0.1:1/0", "BACKPLANE": "memory", "PRESENCE": "memory"}}
    assert "pip install 'holdfast[redis]'" in project.run("manage.py", "check", fails=True, **settings)
