"""manage.py runserver, as a real process: pages, static files and live topics on one port."""

import asyncio
import http.client
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from tests.services.processes import Server, free_port

pytestmark = pytest.mark.slow

SETTINGS = """
from pathlib import Path
DEBUG = True
SECRET_KEY = "x"
ROOT_URLCONF = "site_of_a_newcomer"
INSTALLED_APPS = [
    "holdfast", "news", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.staticfiles",
]
STATIC_URL = "static/"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3"}}
HOLDFAST = {"LOG": "memory"}
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

async def page(request):
    return HttpResponse("version 1")

urlpatterns = [path("", page)]
"""
LIVE = """
from holdfast import Event, Topic

class News(Topic):
    route = "news"

    def may_join(self, user):
        return True
"""

Start = Callable[..., tuple[Server, int]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "news" / "static").mkdir(parents=True)
    (tmp_path / "news" / "__init__.py").touch()
    (tmp_path / "news" / "live.py").write_text(LIVE)
    (tmp_path / "news" / "static" / "news.css").write_text("body {}")
    (tmp_path / "settings_of_a_newcomer.py").write_text(SETTINGS)
    (tmp_path / "site_of_a_newcomer.py").write_text(URLS)
    return tmp_path


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    started: list[Server] = []

    def start(*arguments: str) -> tuple[Server, int]:
        port = free_port()
        output = project / f"output-{len(started)}"
        with output.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{port}", *arguments],
                cwd=project,
                env={
                    "PYTHONPATH": str(project),
                    "PYTHONUNBUFFERED": "1",
                    "DJANGO_SETTINGS_MODULE": "settings_of_a_newcomer",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                # As a terminal starts it: what a shell runs in the background ignores Ctrl-C, and hands that down.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        server = Server(name="runserver", process=process, log=output)
        started.append(server)
        server.wait_until(lambda: "serves HTTP" in server.output() and answers(port))
        return server, port

    yield start
    for server in started:
        server.stop()


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def answers(port: int) -> bool:
    try:
        return get(port, "/")[0] == 200
    except OSError:
        return False


def says(port: int, text: str) -> bool:
    """Return whether the server answers with this text. While it restarts it does not answer, or breaks off."""
    try:
        return get(port, "/") == (200, text)
    except (OSError, http.client.HTTPException):
        return False


async def joined(port: int, path: str = "/live/ws", host: str = "127.0.0.1") -> object:
    """Join `news` over a real WebSocket; return the type of the answer."""
    origin: Any = f"http://{host}:{port}"
    async with connect(f"ws://{host}:{port}{path}", host="127.0.0.1", origin=origin) as socket:
        await socket.send('{"type":"hello"}')
        await socket.send('{"type":"join","ref":1,"topic":"news"}')
        async with asyncio.timeout(5):
            answers = [msgspec.json.decode(await socket.recv()) for _ in range(2)]
    return [answer["type"] for answer in answers]


def test_pages_static_files_and_live_topics_share_a_port(start: Start) -> None:
    server, port = start("--noreload")
    assert get(port, "/") == (200, "version 1")
    assert get(port, "/static/news.css") == (200, "body {}")
    assert get(port, "/nothing")[0] == 404
    assert asyncio.run(joined(port)) == ["welcome", "joined"]

    output = server.output()
    assert f"Starting development server at http://127.0.0.1:{port}/" in output
    assert "Uvicorn " in output
    assert "live topics at /live/ws" in output
    assert '"GET /static/news.css HTTP/1.1" 200 7' in output
    assert '"GET /nothing HTTP/1.1" 404' in output
    assert '"WebSocket /live/ws" connected' in output
    assert '"WebSocket /live/ws" ended' in output
    assert "Traceback" not in output


@pytest.mark.parametrize("host", ["localhost", "tenant.localhost"])
def test_live_topics_answer_under_every_host_under_which_pages_do(start: Start, host: str) -> None:
    _, port = start("--noreload")
    page = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": f"{host}:{port}"})
    with urllib.request.urlopen(page, timeout=5) as response:
        assert response.status == 200
    assert asyncio.run(joined(port, host=host)) == ["welcome", "joined"]


def test_below_a_prefix_pages_static_files_and_live_topics_are_found(start: Start, project: Path) -> None:
    with (project / "settings_of_a_newcomer.py").open("a") as settings:
        settings.write('FORCE_SCRIPT_NAME = "/sub"\n')
    server, port = start("--noreload")
    assert get(port, "/sub/") == (200, "version 1")
    assert get(port, "/sub/static/news.css") == (200, "body {}")
    assert get(port, "/sub/live/ready") == (200, "ready\n")
    assert asyncio.run(joined(port, "/sub/live/ws")) == ["welcome", "joined"]
    assert "live topics at /sub/live/ws" in server.output()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [["--noreload"], []])
def test_sigterm_ends_it_cleanly(start: Start, sig: signal.Signals, arguments: list[str]) -> None:
    server, port = start(*arguments)
    if arguments:
        server.stop(sig)
    else:  # a terminal sends Ctrl-C to the reloader and its child; the child is what serves
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        for child in children:
            subprocess.run(["kill", f"-{sig.value}", child], check=True)
        server.process.send_signal(sig)
        server.process.wait(10)
    assert server.process.returncode == 0
    assert "Traceback" not in server.output()
    with pytest.raises(OSError, match="refused"):
        get(port, "/")


def test_a_change_is_served_without_restarting_by_hand(start: Start, project: Path) -> None:
    server, port = start()
    time.sleep(1.1)  # the reloader goes by the files' times, to the second on some file systems
    (project / "site_of_a_newcomer.py").write_text(URLS.replace("version 1", "version 2"))
    server.wait_until(lambda: says(port, "version 2"))


def test_static_files_can_be_left_to_others(start: Start) -> None:
    _, port = start("--noreload", "--nostatic")
    assert get(port, "/static/news.css")[0] == 404


def test_a_port_in_use_is_a_readable_error(start: Start, project: Path) -> None:
    _, port = start("--noreload")
    second = subprocess.run(
        [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{port}", "--noreload"],
        cwd=project,
        env={"PYTHONPATH": str(project), "DJANGO_SETTINGS_MODULE": "settings_of_a_newcomer"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert "Error: That port is already in use." in second.stderr


def test_the_projects_own_asgi_application_is_served(start: Start, project: Path) -> None:
    (project / "own_asgi.py").write_text(
        """
from django.core.asgi import get_asgi_application
from holdfast.asgi import with_live_topics

inner = with_live_topics(get_asgi_application())

async def application(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/own":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"own"})
    else:
        await inner(scope, receive, send)
"""
    )
    with (project / "settings_of_a_newcomer.py").open("a") as settings:
        settings.write('ASGI_APPLICATION = "own_asgi.application"\n')
    _, port = start("--noreload")
    assert get(port, "/own") == (200, "own")
    assert asyncio.run(joined(port)) == ["welcome", "joined"]


def test_an_asgi_application_that_cannot_be_loaded_is_named(project: Path) -> None:
    with (project / "settings_of_a_newcomer.py").open("a") as settings:
        settings.write('ASGI_APPLICATION = "site.nowhere.application"\n')
    ran = subprocess.run(
        [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{free_port()}", "--noreload"],
        cwd=project,
        env={"PYTHONPATH": str(project), "DJANGO_SETTINGS_MODULE": "settings_of_a_newcomer"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "ASGI_APPLICATION = 'site.nowhere.application' cannot be loaded" in ran.stderr
    assert "leave the setting out" in ran.stderr
