"""The units of `deploy/systemd`, word for word, under a systemd of their own: how they start, reload, restart and end."""

import asyncio
import contextlib
import http.client
import json
import shutil
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect

from tests.services.processes import MissingProgram
from tests.services.systemd import Machine, NoMachine, running_machine

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
SITE = Path(__file__).parent / "site"

WORKERS = 2

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("systemd")]  # one machine for all of them


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the project at /srv/app, and an environment at /srv/app/.venv that is made of this one's parts."""
    app = tmp_path_factory.mktemp("machine") / "app"
    shutil.copytree(SITE, app, ignore=shutil.ignore_patterns("__pycache__"))
    (app / "var").mkdir()
    _environment(app / ".venv")
    app.chmod(0o755)
    binds = {
        app: "/srv/app",
        ROOT / "src": "/opt/holdfast",
        Path(sys.base_prefix): "/opt/python",
        Path(sysconfig.get_path("platlib")): "/opt/site-packages",
        **{unit: f"/etc/systemd/system/{unit.name}" for unit in UNITS.iterdir()},
    }
    try:
        with running_machine(binds) as made:
            # A Python may have its library with it.
            made.path("/etc/ld.so.conf").write_text("/opt/python/lib\n")
            made.run("ldconfig")
            made.run("chown", "-R", "www-data:www-data", "/srv/app/var")
            made.run(*AS_SITE, "manage.py", "migrate", "--verbosity", "0")
            yield made
    except (MissingProgram, NoMachine) as error:
        pytest.skip(str(error))


#: A command of the site, as the user that the units name.
AS_SITE = (
    *("setpriv", "--reuid", "www-data", "--regid", "www-data", "--clear-groups"),
    *("env", "--chdir=/srv/app", "/srv/app/.venv/bin/python"),
)


def _environment(venv: Path) -> None:
    python = f"python{sysconfig.get_python_version()}"
    packages = venv / "lib" / python / "site-packages"
    packages.mkdir(parents=True)
    (packages / "parts.pth").write_text("/opt/holdfast\n/opt/site-packages\n")
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(f"/opt/python/bin/{python}")
    (venv / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")


class Service:
    """holdfast.service behind its socket."""

    name = "holdfast.service"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.socket = str(machine.path("/run/holdfast.sock"))

    def is_(self, state: str) -> bool:
        return self["ActiveState"] == state

    def __getitem__(self, name: str) -> str:
        return self.machine.property(self.name, name)

    def ask(self, path: str = "/pid/", seconds: float = 30) -> str:
        with contextlib.closing(http.client.HTTPConnection("localhost", timeout=seconds)) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(seconds)
            connection.sock.connect(self.socket)
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode()

    def workers(self) -> set[str]:
        """Return the process ids of the workers, as the machine sees them."""
        found: set[str] = set()
        for _ in range(1000):
            found.add(self.ask())
            if len(found) == WORKERS:
                break
        return found


class Client:
    """A member of a room."""

    def __init__(self, service: Service) -> None:
        self._connect = unix_connect(
            service.socket, "ws://localhost/live/ws", origin="http://localhost", close_timeout=1
        )

    async def __aenter__(self) -> Self:
        self.socket: ClientConnection = await self._connect
        await self.request("join", topic="rooms/lobby", payload={})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def request(self, kind: str, **more: Any) -> Any:
        await self.socket.send(json.dumps({"type": kind, "ref": 1, **more}))
        return await self.until(lambda message: message.get("ref") == 1)

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                if holds(message):
                    return message

    async def goodbye(self) -> int | None:
        """Wait for it; the code of the close behind it."""
        said = await self.until(lambda message: message["type"] == "goodbye")
        assert said["payload"]["code"] == "draining"
        await self.socket.wait_closed()
        return self.socket.close_code


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    machine.systemctl("start", "holdfast.socket", "holdfast.service")
    made = Service(machine)
    yield made
    machine.systemctl("stop", "holdfast.socket", "holdfast.service")
    machine.systemctl("reset-failed", "holdfast.service", check=False)


def soon(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_it_counts_as_started_when_it_serves(machine: Machine) -> None:
    hold = machine.path("/srv/app/var/hold")
    hold.touch()
    machine.systemctl("start", "--no-block", "holdfast.service")
    service = Service(machine)
    try:
        assert soon(lambda: service.is_("activating"))
        assert service["MainPID"] != "0"
        assert service.is_("activating"), "its process runs, and it does not serve yet"
        hold.unlink()
        assert soon(lambda: service.is_("active"))
        assert service["StatusText"] == f"{WORKERS} workers serve"
        assert len(service.workers()) == WORKERS
    finally:
        hold.unlink(missing_ok=True)
        machine.systemctl("stop", "holdfast.socket", "holdfast.service")


def test_a_connection_to_its_socket_starts_it(machine: Machine) -> None:
    machine.systemctl("start", "holdfast.socket")
    service = Service(machine)
    try:
        assert service.is_("inactive")
        assert service.ask()
        assert soon(lambda: service.is_("active"))
    finally:
        machine.systemctl("stop", "holdfast.socket", "holdfast.service")


async def test_a_reload_hands_clients_from_old_workers_to_new_ones(service: Service) -> None:
    before, main = await asyncio.to_thread(service.workers), service["MainPID"]
    async with Client(service) as first:
        reload = asyncio.create_task(asyncio.to_thread(service.machine.systemctl, "reload", service.name))
        assert await first.goodbye() == 4000
        async with Client(service) as second:
            assert (await second.request("call", topic="rooms/lobby", name="say", payload={"text": "hi"}))[
                "type"
            ] == "result"
        await reload
    assert await asyncio.to_thread(soon, lambda: not before & service.workers())
    assert await asyncio.to_thread(soon, lambda: service["StatusText"] == f"{WORKERS} workers serve")
    assert (service["MainPID"], service["NRestarts"]) == (main, "0")
    assert service.is_("active")


async def test_a_stop_says_goodbye_and_ends_in_time(service: Service) -> None:
    async with Client(service) as client:
        stop = asyncio.create_task(asyncio.to_thread(service.machine.systemctl, "stop", service.name))
        assert await client.goodbye() == 4000
        await stop
    assert (service["Result"], service["ExecMainStatus"]) == ("success", "0")
    journal = service.machine.journal(service.name)
    assert "has ended." in journal
    assert "timed out" not in journal


@pytest.mark.timeout(120)
def test_a_restart_refuses_no_client(service: Service) -> None:
    before, answers, over = service.workers(), [], threading.Event()

    def keep_asking() -> None:
        while not over.is_set():
            answers.append(service.ask(seconds=60))  # a busy machine takes its time for three processes

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        service.machine.systemctl("restart", service.name)
        assert soon(lambda: bool(answers) and answers[-1] not in before)
    finally:
        over.set()
        asking.join()
    assert before & set(answers)
    assert set(answers) - before


def test_a_worker_that_is_killed_is_replaced(service: Service) -> None:
    before, main = service.workers(), service["MainPID"]
    victim = min(before)
    service.machine.run("kill", "-KILL", victim)
    assert soon(lambda: victim not in (now := service.workers()) and len(now) == WORKERS)
    assert (service["MainPID"], service["NRestarts"]) == (main, "0"), "systemd had nothing to do"


def test_a_supervisor_that_is_killed_is_started_again(service: Service) -> None:
    before, main = service.workers(), service["MainPID"]
    service.machine.run("kill", "-KILL", main)
    assert soon(lambda: service["MainPID"] not in ("0", main) and service.is_("active"))
    assert service["NRestarts"] == "1"
    assert not before & service.workers(), "the old workers do not outlive it"


def test_a_release_that_does_not_start_is_a_failure_that_the_journal_explains(service: Service) -> None:
    settings = service.machine.path("/srv/app/mysite/settings.py")
    right = settings.read_text()
    service.machine.systemctl("stop", service.name)
    settings.write_text(right + "raise RuntimeError('a release that does not start')\n")
    try:
        service.machine.systemctl("start", service.name, check=False)
        assert service["Result"] in ("exit-code", "protocol")
        assert "a release that does not start" in service.machine.journal(service.name)
    finally:
        settings.write_text(right)
        service.machine.systemctl("stop", service.name)


def test_several_servers_restart_one_after_the_other(machine: Machine) -> None:
    """As in the for loop that stands in the unit: while one drains, the other serves."""

    def ask(server: int) -> str:
        code = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:800{server}/pid/').read().decode())"
        return machine.run("/srv/app/.venv/bin/python", "-c", code)

    machine.systemctl("start", "holdfast@1", "holdfast@2")
    try:
        before = [ask(1), ask(2)]
        for server in (1, 2):
            machine.systemctl("restart", f"holdfast@{server}")
            after = ask(server)
            assert after != before[server - 1], "when the restart is over, the new one serves"
        assert ask(1) == machine.property("holdfast@1", "MainPID")
    finally:
        machine.systemctl("stop", "holdfast@1", "holdfast@2")
    for server in (1, 2):
        assert machine.property(f"holdfast@{server}", "Result") == "success"
