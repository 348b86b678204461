"""The served application, in a project fresh from ``startproject``, with real processes and sockets."""

import asyncio
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from holdfast.protocol import codes
from holdfast.transports.missing import REASON
from tests.services.processes import Server, free_port, start

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
MANAGE = [sys.executable, "manage.py"]

SETTINGS = """
INSTALLED_APPS = ["holdfast", *INSTALLED_APPS]
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
"""
ENVIRONMENT = {"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
NAMED = 'ASGI_APPLICATION = "shop.asgi.application"\n'
ROUTER = """
from channels.routing import ProtocolTypeRouter, URLRouter

application = ProtocolTypeRouter({"http": application, "websocket": URLRouter([])})
"""
WRAPPED = """
from holdfast.asgi import with_live_topics

inner = with_live_topics(application)


async def application(scope, receive, send):
    await inner(scope, receive, send)
"""

RUNSERVER = [*MANAGE, "runserver", "--noreload", "{port}"]
SERVE = [*MANAGE, "holdfast", "serve", "--port", "{port}"]
UVICORN = [str(BIN / "uvicorn"), "--port", "{port}", "shop.asgi:application"]
DAPHNE = [str(BIN / "daphne"), "-p", "{port}", "shop.asgi:application"]
SERVERS = Path(__file__).parents[2] / "docs" / "how-to" / "servers.md"
STATIC = "/static/holdfast/holdfast.js"

Serve = Callable[[list[str]], tuple[Server, int]]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as ``startproject`` makes it, except for ``INSTALLED_APPS`` and the database's options."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", "."], cwd=folder, check=True)
    add(folder / "shop" / "settings.py", SETTINGS)
    return folder


@pytest.fixture
def project(fresh: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fresh, tmp_path / "project")


@pytest.fixture
def serve(project: Path, tmp_path: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def serve(command: list[str]) -> tuple[Server, int]:
        port = free_port()
        command = [part.format(port=port) for part in command]
        server = start("server", command, directory=tmp_path, cwd=project, env=ENVIRONMENT)
        servers.append(server)
        server.wait_until(lambda: status(port, "/admin/login/") is not None)
        return server, port

    yield serve
    for server in servers:
        server.stop()


def add(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


def status(port: int, path: str) -> int | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def check(project: Path) -> str:
    done = subprocess.run(
        [*MANAGE, "check"], cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


async def answer(port: int, *, offered: str | None = "holdfast.v1.json") -> tuple[int, str]:
    """Open a live connection; return the code and reason of its close, or the status of the refusal."""
    origin = Origin(f"http://127.0.0.1:{port}")
    subprotocols = [Subprotocol(offered)] if offered else None
    url = f"ws://127.0.0.1:{port}/live/ws"
    try:
        async with connect(url, origin=origin, subprotocols=subprotocols) as socket:
            async with asyncio.timeout(5):
                await socket.send('{"type":"hello"}')
                return 0, str(await socket.recv())
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
    except InvalidStatus as refused:
        return refused.response.status_code, ""


# ── an application without live topics ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "routing"),
    [
        pytest.param(RUNSERVER, "", id="runserver"),
        pytest.param(SERVE, "", id="serve"),
        pytest.param([*SERVE, "--workers", "1"], "", id="worker"),
        pytest.param(UVICORN, "", id="uvicorn"),
        pytest.param(DAPHNE, "", id="daphne"),
        pytest.param(RUNSERVER, ROUTER, id="runserver-router"),
        pytest.param(SERVE, ROUTER, id="serve-router"),
    ],
)
def test_without_live_topics_a_connection_is_closed_with_a_reason_and_one_line_in_the_log(
    project: Path, serve: Serve, command: list[str], routing: str
) -> None:
    add(project / "shop" / "settings.py", NAMED)
    add(project / "shop" / "asgi.py", routing)
    server, port = serve(command)

    code, reason = asyncio.run(answer(port))
    assert code == codes.UNAVAILABLE.close
    assert reason == ("" if command is DAPHNE else REASON), "Daphne sends no reasons"
    assert asyncio.run(answer(port, offered=None)) == (403, "")

    output = server.output(last=100_000)
    assert "live topics at" not in output
    assert ("NO live topics: ASGI_APPLICATION = 'shop.asgi.application'" in output) is (
        command not in (UVICORN, DAPHNE)
    ), "our commands say so at the start"
    assert output.count("A live connection was refused") == 1
    assert "asgi.py" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("routing", "warned"),
    [
        pytest.param("", True, id="startproject"),
        pytest.param(ROUTER, True, id="router"),
        pytest.param(WRAPPED, False, id="wrapped"),
    ],
)
def test_w021_an_application_without_live_topics(project: Path, routing: str, warned: bool) -> None:
    add(project / "shop" / "settings.py", NAMED)
    add(project / "shop" / "asgi.py", routing)
    found = check(project)
    assert ("holdfast.W021" in found) is warned, found
    assert ("'shop.asgi.application'" in found) is warned


def test_w022_an_application_that_cannot_be_loaded(project: Path) -> None:
    add(project / "shop" / "settings.py", NAMED)
    add(project / "shop" / "asgi.py", "raise RuntimeError('no secret')")
    found = check(project)
    assert "holdfast.W022" in found
    assert "RuntimeError: no secret" in found


def test_without_the_setting_there_is_nothing_to_warn_of(project: Path) -> None:
    assert "no issues" in check(project)


# ── static files ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", [SERVE, [*SERVE, "--workers", "1"]], ids=["serve", "worker"])
def test_under_debug_serve_serves_static_files(project: Path, serve: Serve, command: list[str]) -> None:
    server, port = serve(command)
    assert status(port, STATIC) == 200
    assert status(port, "/static/nothing.js") == 404
    assert "static files" in server.output()


def test_without_debug_static_files_are_left_to_others(project: Path, serve: Serve) -> None:
    add(project / "shop" / "settings.py", "DEBUG, ALLOWED_HOSTS = False, ['127.0.0.1']\n")
    server, port = serve(SERVE)
    assert status(port, STATIC) == 404
    assert "static files" not in server.output()


def test_a_project_without_static_files_is_served(project: Path, serve: Serve) -> None:
    add(project / "shop" / "settings.py", "STATIC_URL = None\n")
    _, port = serve(SERVE)
    assert status(port, "/nowhere/") == 404


@pytest.mark.parametrize("command", [UVICORN, DAPHNE], ids=["uvicorn", "daphne"])
def test_other_servers_find_static_files_with_the_urls_that_the_docs_name(
    project: Path, serve: Serve, command: list[str]
) -> None:
    [block] = re.findall(r'```python title="mysite/urls.py"\n(.*?)```', SERVERS.read_text(), re.DOTALL)
    add(project / "shop" / "urls.py", block)
    server, port = serve(command)
    assert status(port, STATIC) == 200
    assert "Traceback" not in server.output()
