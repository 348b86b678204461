"""Real processes: `manage.py holdfast serve` shuts down and replaces its workers."""

import asyncio
import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from holdfast.connections.pacing import AT_LEAST_PER_SECOND
from tests.services.processes import Server, free_port, start

from .client import Live
from .conftest import Pool, trouble
from .servers import BIN, GENEROUS, SERVERS, Kind, Running, environment_for, running, soon
from .test_serve import SERVE, SETTINGS

PROJECT = "from tests.asgi_servers.project.settings import *\n"


def serving(*arguments: str, **environment: str) -> Kind:
    return Kind(
        name="serve",
        command=lambda port, _: [*SERVE, "--port", str(port), *arguments],
        environment={**SETTINGS, **environment},
    )


@contextlib.contextmanager
def served(
    pool: Pool, directory: Path, *arguments: str, drain: float, **environment: str
) -> Iterator[Running]:
    holdfast = {**GENEROUS, "RECONCILE_SECONDS": 0.2, "DRAIN_SECONDS": drain}
    with running(serving(*arguments, **environment), pool.prepared, directory, holdfast=holdfast) as server:
        yield server
    wrong = trouble(server)
    assert not wrong, "\n".join(wrong)


def tell(server: Running, number: signal.Signals) -> None:
    server.process.process.send_signal(number)


async def ended(server: Running, seconds: float) -> int:
    return await asyncio.to_thread(server.process.process.wait, seconds)


async def goodbye(client: Live) -> tuple[float, float, int]:
    """Return the time of the goodbye, the wait that it asks for, and the code of the close after it."""
    said = await client.until(lambda message: message["type"] == "goodbye")
    at = time.monotonic()
    assert said["payload"]["code"] == "draining"
    return at, said["payload"]["after"], (await client.closed())[0]


async def many(server: Running, stack: AsyncExitStack, count: int) -> list[Live]:
    clients = [await stack.enter_async_context(Live(server)) for _ in range(count)]
    for client in clients:
        await client.hello()
    return clients


# ── SIGTERM ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_connections_are_handed_off_over_the_stated_time(
    pool: Pool, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    count, drain = 160, 3.0
    with served(pool, tmp_path, *workers, drain=drain) as server:
        async with AsyncExitStack() as stack:
            clients = await many(server, stack, count)
            began = time.monotonic()
            tell(server, signal.SIGTERM)
            told = await asyncio.gather(*(goodbye(client) for client in clients))
            assert await ended(server, 10) == 0

    took = time.monotonic() - began
    assert took < drain + 3
    assert {code for _, _, code in told} == {4000}
    assert max(at for at, _, _ in told) - began > 0.8 * drain, "not all at once"
    back = sorted(at + after for at, after, _ in told)
    planned = count / drain
    assert max(sum(start <= at < start + 1 for at in back) for start in back) <= 2 * planned


async def test_a_call_that_runs_is_answered_before_the_goodbye(pool: Pool, tmp_path: Path) -> None:
    topic = f"rooms/r{uuid4().hex[:12]}"
    with served(pool, tmp_path, drain=1) as server:
        async with Live(server) as client:
            await client.join(topic)
            await client.send(type="call", ref=70, topic=topic, name="wait", payload={"seconds": 1.5})
            await client.send(type="ping")
            await client.until(lambda message: message["type"] == "pong")
            tell(server, signal.SIGTERM)
            answer = await client.until(lambda message: message["type"] in ("result", "goodbye"))
            assert (answer["type"], answer.get("ref")) == ("result", 70)
            await goodbye(client)
        assert await ended(server, 10) == 0


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "worker"])
async def test_requests_finish_kept_connections_are_closed_and_new_ones_refused(
    pool: Pool, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    with served(pool, tmp_path, *workers, drain=3) as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)

        def ask(path: str) -> http.client.HTTPResponse:
            kept.request("GET", path)
            response = kept.getresponse()
            response.read()
            return response

        assert ask("/me/").getheader("Connection") is None
        async with AsyncExitStack() as stack:
            clients = await many(server, stack, 60)
            running_request = asyncio.create_task(asyncio.to_thread(server.get, "doze/1.5/"))
            assert await asyncio.to_thread(soon, lambda: server.state()["dozing"] == 1)
            tell(server, signal.SIGTERM)
            told = [asyncio.create_task(goodbye(client)) for client in clients]
            assert await asyncio.to_thread(soon, lambda: _refused(server.port))

            last = await asyncio.to_thread(ask, "/me/")
            assert (last.status, last.getheader("Connection")) == (200, "close")
            assert await running_request == "awake"
            await asyncio.gather(*told)
        assert await ended(server, 10) == 0


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_hurries(
    pool: Pool, tmp_path: Path, workers: tuple[str, ...], second: signal.Signals
) -> None:
    topic = f"rooms/r{uuid4().hex[:12]}"
    with served(pool, tmp_path, *workers, drain=60) as server:
        async with AsyncExitStack() as stack:
            clients = await many(server, stack, 100)
            await clients[0].join(topic)
            await clients[0].send(type="call", ref=70, topic=topic, name="slowly", payload={"seconds": 5})
            await clients[0].send(type="ping")
            await clients[0].until(lambda message: message["type"] == "pong")
            tell(server, signal.SIGTERM)
            told = [asyncio.create_task(goodbye(client)) for client in clients]
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
            began = time.monotonic()
            tell(server, second)
            await ended(server, 10)
            assert time.monotonic() - began < 6, "two seconds are promised, and the machine may be busy"
            assert len(await asyncio.gather(*told)) == len(clients), (
                "every client gets its goodbye, also in a hurry"
            )


@pytest.mark.parametrize("others", [0, 40])
async def test_clients_that_connect_during_the_drain_are_handed_off_too(
    pool: Pool, tmp_path: Path, others: int
) -> None:
    """Open a connection and hold it ready, as a proxy does."""
    with (
        served(pool, tmp_path, drain=2) as server,
        socket.create_connection(("127.0.0.1", server.port)) as ready,
    ):
        async with AsyncExitStack() as stack:
            clients = await many(server, stack, others)
            tell(server, signal.SIGTERM)
            told = [asyncio.create_task(goodbye(client)) for client in clients]
            assert await asyncio.to_thread(soon, lambda: _refused(server.port))
            late = await stack.enter_async_context(Live(server, sock=ready))
            assert (await goodbye(late))[2] == 4000
            await asyncio.gather(*told)
        assert await ended(server, 10) == 0


async def test_a_server_that_closes_all_at_once_still_spreads_the_reconnections(
    pool: Pool, tmp_path: Path
) -> None:
    """Uvicorn without `holdfast serve` leaves no time for draining."""
    (kind,) = (kind for kind in SERVERS if kind.name == "holdfast")
    with running(kind, pool.prepared, tmp_path, holdfast=GENEROUS) as server:
        async with AsyncExitStack() as stack:
            clients = await many(server, stack, 60)
            tell(server, signal.SIGTERM)
            told = await asyncio.gather(*(goodbye(client) for client in clients))
            await ended(server, 20)
    moments = [at for at, _, _ in told]
    assert max(moments) - min(moments) < 1
    waits = sorted(after for _, after, _ in told)
    assert max(sum(start <= wait < start + 1 for wait in waits) for start in waits) <= 2 * AT_LEAST_PER_SECOND
    assert waits[-1] > 2


# ── SIGHUP ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def with_settings(directory: Path, more: str = "") -> dict[str, str]:
    """Return the environment for settings that the test may change."""
    (directory / "mine.py").write_text(PROJECT + more)
    path = environment_for(directory)["PYTHONPATH"]
    return {"DJANGO_SETTINGS_MODULE": "mine", "PYTHONPATH": f"{directory}{os.pathsep}{path}"}


def pids(server: Running, count: int) -> set[int]:
    """Return the ids of the serving processes, of which there are ``count``. The kernel chooses which one gets a request."""
    found: set[int] = set()
    for _ in range(1000):
        found.add(server.state()["pid"])
        if len(found) == count:
            break
    return found


@pytest.mark.alone  # old and new workers share the machine with what it measures
@pytest.mark.parametrize("workers", [1, 2])
async def test_sighup_replaces_the_workers_and_refuses_no_client(
    pool: Pool, tmp_path: Path, workers: int
) -> None:
    environment = with_settings(tmp_path, "HOLDFAST = {**HOLDFAST, 'HEARTBEAT_SECONDS': 11}\n")
    room = f"r{uuid4().hex[:12]}"
    with served(pool, tmp_path, "--workers", str(workers), drain=1, **environment) as server:
        before = await asyncio.to_thread(pids, server, workers)
        (tmp_path / "mine.py").write_text(PROJECT + "HOLDFAST = {**HOLDFAST, 'HEARTBEAT_SECONDS': 12}\n")
        async with AsyncExitStack() as stack:
            clients = await many(server, stack, 30)
            for client in clients:
                await client.join(f"rooms/{room}")
            told = [asyncio.create_task(goodbye(client)) for client in clients]
            tell(server, signal.SIGHUP)
            beats, requests = [], 0
            async with asyncio.timeout(45):
                while "All workers are replaced" not in server.process.output():
                    async with Live(server) as client:
                        beats.append((await client.hello())["payload"]["heartbeat"])
                    await asyncio.to_thread(server.get, "me/")
                    requests += 1
            await asyncio.gather(*told)
        after = await asyncio.to_thread(pids, server, workers)

    assert len(before) == len(after) == workers
    assert not before & after
    assert {11, 12} == set(beats), (
        "old and new workers served during the reload, and the new ones have the new code"
    )
    assert requests > 10


async def test_a_reload_with_broken_code_is_cancelled_and_nothing_is_lost(pool: Pool, tmp_path: Path) -> None:
    environment = with_settings(tmp_path)
    with served_roughly(pool, tmp_path, "--workers", "2", drain=1, **environment) as server:
        before = await asyncio.to_thread(pids, server, 2)
        async with Live(server) as client:
            await client.hello()
            (tmp_path / "mine.py").write_text("raise RuntimeError('a release that does not start')\n")
            tell(server, signal.SIGHUP)
            given_up = "The reload is abandoned; the running workers keep serving"
            assert await asyncio.to_thread(soon, lambda: given_up in server.process.output(last=9999), 30)
            await client.send(type="ping")
            await client.until(lambda message: message["type"] == "pong")
        assert await asyncio.to_thread(pids, server, 2) == before
        assert "a release that does not start" in server.process.output(last=9999)


@contextlib.contextmanager
def served_roughly(
    pool: Pool, directory: Path, *arguments: str, drain: float, **environment: str
) -> Iterator[Running]:
    """For tests that expect tracebacks in the log."""
    kind = serving(*arguments, **environment)
    with running(kind, pool.prepared, directory, holdfast={**GENEROUS, "DRAIN_SECONDS": drain}) as server:
        yield server


# ── workers that die ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_that_is_killed_is_replaced(pool: Pool, tmp_path: Path) -> None:
    with served(pool, tmp_path, "--workers", "2", drain=0) as server:
        before = pids(server, 2)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        assert soon(lambda: "another one starts" in server.process.output())
        after = pids(server, 2)
        assert len(after) == 2
        assert victim not in after
        assert f"(process {victim}) was killed by SIGKILL; another one starts" in server.process.output()


def test_a_worker_at_its_limit_of_requests_serves_until_its_replacement_does(
    pool: Pool, tmp_path: Path
) -> None:
    with served(pool, tmp_path, "--workers", "1", "--limit-max-requests", "5", drain=0) as server:
        (first,) = pids(server, 1)
        for _ in range(5):
            server.get("me/")
        finished = f"Finished server process [{first}]"
        assert soon(lambda: finished in server.process.output(last=9999), 40)
        assert server.get("me/")
        output = server.process.output(last=9999)
        assert output.count("Started server process") >= 2
        assert output.rindex("Started server process") < output.index("Shutting down")
        assert "another one starts" not in output


def test_starting_a_worker_is_retried_when_resources_are_missing(pool: Pool, tmp_path: Path) -> None:
    with served(pool, tmp_path, "--workers", "2", drain=0) as server:
        before = pids(server, 2)
        supervisor = server.process.process.pid
        limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))
        os.kill(min(before), signal.SIGKILL)
        assert soon(lambda: "could not be started: [Errno 24] Too many open files" in server.process.output())
        assert pids(server, 1) == {max(before)}
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
        assert soon(lambda: len(pids(server, 2)) == 2)


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "worker"])
def test_programs_that_the_application_starts_do_not_inherit_the_sockets(
    pool: Pool, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    """A program that outlives the server would keep its address, and hold connections that no process accepts."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        fd = listening.fileno()
        process = run(pool, tmp_path, "--fd", str(fd), *workers, pass_fds=(fd,))
        try:
            connection = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=30)
            with contextlib.closing(connection):
                connection.request("GET", "/state/")
                pid = json.load(connection.getresponse())["pid"]
                assert list(_inherited_sockets(pid)) == []
        finally:
            process.stop()


def _inherited_sockets(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if int(link.name) > 2 and str(link.readlink()).startswith("socket:"):
            flags = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split("flags:")[1].split()[0]
            if not int(flags, 8) & os.O_CLOEXEC:
                yield link.name


def test_workers_that_cannot_start_end_it_with_status_3(pool: Pool, tmp_path: Path) -> None:
    environment = with_settings(
        tmp_path,
        "import multiprocessing\nif multiprocessing.parent_process(): raise RuntimeError('only in workers')\n",
    )
    process = run(pool, tmp_path, "--workers", "2", **environment)
    try:
        assert process.process.wait(30) == 3
    finally:
        process.stop()
    output = process.output(last=99999)
    assert "before it served; the log above says why" in output
    assert output.count("RuntimeError: only in workers") <= 2, "nothing is tried again and again"


def run(
    pool: Pool, directory: Path, *arguments: str, pass_fds: tuple[int, ...] = (), **environment: str
) -> Server:
    """`serve`, without waiting for it."""
    return start(
        "serve",
        [BIN / SERVE[0], *SERVE[1:], *arguments, *(() if pass_fds else ("--port", str(free_port())))],
        directory=directory,
        env={**environment_for(pool.copy(directory), {"DRAIN_SECONDS": 0}), **SETTINGS, **environment},
        pass_fds=pass_fds,
    )


def test_workers_end_when_their_supervisor_is_killed(pool: Pool, tmp_path: Path) -> None:
    with served(pool, tmp_path, "--workers", "2", drain=0) as server:
        workers = pids(server, 2)
        server.process.kill()
        assert soon(lambda: not any(_lives(pid) for pid in workers))


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


# ── where it runs ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "worker"])
def test_systemd_is_notified_of_each_step(pool: Pool, tmp_path: Path, workers: tuple[str, ...]) -> None:
    path = tmp_path / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(path))
        line.settimeout(20)
        process = run(pool, tmp_path, *workers, NOTIFY_SOCKET=str(path))
        try:
            assert line.recv(4096).startswith(b"READY=1\n")
            if workers:
                process.process.send_signal(signal.SIGHUP)
                reloading = line.recv(4096).decode().splitlines()
                assert reloading[0] == "RELOADING=1"
                assert reloading[1].startswith("MONOTONIC_USEC=")
                assert line.recv(4096).startswith(b"READY=1\n")
            process.process.send_signal(signal.SIGTERM)
            assert line.recv(4096).startswith(b"STOPPING=1\n")
            assert process.process.wait(20) == 0
        finally:
            process.stop()


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_on_a_socket_of_systemd_no_client_is_refused_from_one_server_to_the_next(
    pool: Pool, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        port = listening.getsockname()[1]

        def ask() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                connection.request("GET", "/me/")
                return connection.getresponse().status

        fd = listening.fileno()
        for _ in range(2):
            process = run(pool, tmp_path, "--fd", str(fd), *workers, pass_fds=(fd,))
            try:
                assert ask() == 200
                process.process.send_signal(signal.SIGTERM)
                assert process.process.wait(20) == 0
            finally:
                process.stop()


def as_process_1(*arguments: str) -> Kind:
    """`serve` as the first process of a PID namespace, as in a container, with an orphan that ends soon after."""
    unshare = shutil.which("unshare")
    tried = unshare and subprocess.run([unshare, "--pid", "--fork", "true"], capture_output=True, check=False)
    if not tried or tried.returncode:
        pytest.skip("this user may not make a PID namespace")
    serve = f"(sleep 0.3 &) ; exec {sys.executable} {' '.join([*SERVE[1:], *arguments])} --port "
    return Kind(
        name="process-1",
        command=lambda port, _: [
            *(str(unshare), "--pid", "--fork", "--kill-child"),
            *("/bin/sh", "-c", serve + str(port)),
        ],
        environment=SETTINGS,
    )


def test_as_process_1_it_ends_by_signals_and_leaves_no_zombies(pool: Pool, tmp_path: Path) -> None:
    kind = as_process_1("--workers", "1")
    with running(kind, pool.prepared, tmp_path, holdfast={"DRAIN_SECONDS": 0}) as server:
        (one,) = _children(server.process.process.pid)
        assert soon(lambda: not [pid for pid in _children(one) if not _lives(pid)])
        assert len(_children(one)) >= 1
        os.kill(one, signal.SIGTERM)
        assert server.process.process.wait(20) == 0


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_as_process_1_it_drains_and_a_second_signal_hurries(
    pool: Pool, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    """The kernel ignores signals to process 1 for which it has no handler."""
    holdfast = {**GENEROUS, "DRAIN_SECONDS": 60}
    with running(as_process_1(*workers), pool.prepared, tmp_path, holdfast=holdfast) as server:
        (one,) = _children(server.process.process.pid)
        async with AsyncExitStack() as stack:
            clients = await many(server, stack, 60)
            told = [asyncio.create_task(goodbye(client)) for client in clients]
            os.kill(one, signal.SIGTERM)
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
            assert not all(task.done() for task in told)
            began = time.monotonic()
            os.kill(one, signal.SIGTERM)
            assert {code for _, _, code in await asyncio.gather(*told)} == {4000}
        assert await ended(server, 10) == 0
        assert time.monotonic() - began < 3


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_contradictory_options_are_refused_with_the_reason(pool: Pool, tmp_path: Path) -> None:
    process = run(pool, tmp_path, "--fd", "77", pass_fds=(0,))
    assert process.process.wait(20) == 1
    assert "--fd 77: " in process.output()
    assert "Traceback" not in process.output()
