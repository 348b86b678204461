"""`manage.py holdfast serve`, as a real process: workers, signals, a UNIX socket."""

import asyncio
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import unix_connect

from tests.services.processes import start

from .client import Live
from .conftest import Pool, trouble
from .servers import BIN, GENEROUS, Kind, Running, environment_for, running

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.asgi_servers.project.settings"}
SERVE = ["python", "-m", "django", "holdfast", "serve"]


def serving(workers: int) -> Kind:
    return Kind(
        name=f"serve-{workers}",
        command=lambda port, _: [*SERVE, "--port", str(port), "--workers", str(workers)],
        says_goodbye=True,
        close_at_shutdown=4000,
        environment=SETTINGS,
    )


@pytest.fixture(params=[1, 2])
def served(pool: Pool, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    kind = serving(request.param)
    with running(kind, pool.prepared, tmp_path, holdfast={**GENEROUS, "RECONCILE_SECONDS": 0.2}) as server:
        yield server
    wrong = trouble(server)
    assert not wrong, "\n".join(wrong)


def workers_of(server: Running) -> int:
    return int(server.kind.name.removeprefix("serve-"))


async def everywhere(server: Running, stack: AsyncExitStack) -> list[Live]:
    """Clients, some of them on each worker."""
    clients: list[Live] = []
    busy: set[int] = set()
    for _ in range(200):
        clients.append(await stack.enter_async_context(Live(server)))
        await clients[-1].hello()
        state = await asyncio.to_thread(server.state)
        if state["connections"]:
            busy.add(state["pid"])
        if len(busy) == workers_of(server):
            return clients
    raise AssertionError(f"only {busy} have connections")


async def test_an_event_reaches_the_clients_of_every_worker(served: Running) -> None:
    room = f"r{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        clients = await everywhere(served, stack)
        for client in clients:
            await client.join(f"rooms/{room}")
        await asyncio.to_thread(served.get, f"say/{room}/?count=3")
        for client in clients:
            assert [event["offset"] for event in await client.events(3)] == [1, 2, 3]


async def test_sigterm_says_goodbye_on_every_worker(served: Running) -> None:
    async with AsyncExitStack() as stack:
        clients = await everywhere(served, stack)
        served.process.process.send_signal(signal.SIGTERM)
        for client in clients:
            goodbye = await client.until(lambda message: message["type"] == "goodbye")
            assert 0 <= goodbye["payload"].pop("after") < 0.3
            assert goodbye["payload"] == {"code": "draining", "reconnect": True}
            assert (await client.closed())[0] == 4000
        assert await asyncio.to_thread(served.process.process.wait, 20) == 0


def test_the_log_reports_each_step(served: Running) -> None:
    output = served.process.output()

    assert "live topics at /live/ws" in output
    assert re.search(
        r"On SIGTERM the server drains its connections for up to \d+ s, and exits within \d+ s\.", output
    )
    assert "Only the database connects" not in output  # the workers of one machine reach each other
    assert not re.search(r'"(GET|WebSocket) ', output), "no access log unless it is asked for"


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_server_listens_on_a_unix_socket_and_removes_it(
    pool: Pool, tmp_path: Path, workers: int
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as killed:  # what a server that was killed leaves behind
        killed.bind(str(path))
    command: list[str | Path] = [BIN / SERVE[0], *SERVE[1:], "--uds", str(path), "--workers", str(workers)]
    environment = {**environment_for(pool.copy(tmp_path)), **SETTINGS}
    with ExitStack() as stack:
        server = start("serve", command, directory=tmp_path, env=environment)
        stack.callback(server.stop)
        server.wait_until(lambda: _answers(path))
        origin: Any = "http://localhost"
        async with unix_connect(str(path), "ws://localhost/live/ws", origin=origin) as live:
            await live.send('{"type":"hello"}')
            async with asyncio.timeout(10):
                assert "welcome" in str(await live.recv())
        server.stop(seconds=20)
        assert server.process.returncode == 0
        assert "Traceback" not in server.output()
    assert not path.exists()


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "worker"])
def test_an_ending_server_leaves_the_unix_socket_of_its_successor_alone(
    pool: Pool, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    path = tmp_path / "s"
    command: list[str | Path] = [BIN / SERVE[0], *SERVE[1:], "--uds", str(path), *workers]
    environment = {**environment_for(pool.copy(tmp_path)), **SETTINGS}
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as asking:
        old = start("old", command, directory=tmp_path, env=environment)
        stack.callback(old.stop)
        old.wait_until(lambda: _answers(path))
        asking.connect(str(path))
        asking.sendall(
            b"POST /me/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        )
        assert asking.recv(4096).startswith(b"HTTP/1.1 100"), "the request is under way"
        old.process.send_signal(signal.SIGTERM)
        old.wait_until(lambda: not _answers(path))
        new = start("new", command, directory=tmp_path, env=environment)
        stack.callback(new.stop)
        new.wait_until(lambda: _answers(path))
        assert old.process.poll() is None, "it has a request to finish"
        asking.sendall(b"0123456789")
        assert asking.recv(4096).startswith(b"HTTP/1.1 ")
        assert old.process.wait(20) == 0
        assert _answers(path)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_the_limit_for_open_files_is_raised(pool: Pool, tmp_path: Path) -> None:
    kind = Kind(
        name="serve-few",
        command=lambda port, _: [
            *["/bin/sh", "-c", f'ulimit -Sn 200 && exec "$0" {" ".join(SERVE[1:])} --port {port}'],
            str(BIN / "python"),
        ],
        environment=SETTINGS,
    )
    with running(kind, pool.prepared, tmp_path, holdfast={}) as server:
        limits = Path(f"/proc/{server.state()['pid']}/limits").read_text()
        assert "Open files: the limit was 200 and is now" in server.process.output()
    assert re.search(r"Max open files\s+(?!200\b)\d+", limits)
