"""The faults of a schedule do what their names say."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from tests.services.processes import find_program, free_port, start

from .chaos.injector import Injector
from .chaos.records import Injected, Journal, read
from .chaos.schedule import Fault, Schedule, Step
from .conftest import Standing
from .visitor import Visitor

ROOM = "rooms/r0"


@pytest.mark.timeout(60)
async def test_when_nginx_is_killed_all_clients_behind_it_are_cut_off(
    standing: Standing, tmp_path: Path
) -> None:
    path = tmp_path / "faults.jsonl"
    step = Step(at=0.0, fault=Fault.KILL_NGINX, target="nginx", seconds=1.0)
    async with standing(servers=1, users=2) as (fleet, bailiff, ids):
        with contextlib.closing(Journal(path)) as journal:
            injector = Injector(fleet, bailiff, ids, journal)
            async with (
                Visitor.at(fleet.nginx_port, 0, ROOM) as through,
                Visitor.at(fleet.servers[0].port, 1, ROOM) as past,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(injector.carry_out(Schedule(seed=0, seconds=0.0, steps=(step,))))
                await through.ended(seconds=5)
                assert not past.has_ended
        assert [record.kind for record in read([path]) if isinstance(record, Injected)] == ["kill nginx"]
        await _until_listening(fleet.nginx_port)
        async with Visitor.at(fleet.nginx_port, 0, ROOM) as again:
            assert not again.has_ended


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def test_a_port_is_not_one_that_the_kernel_gives_to_connections() -> None:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [free_port() for _ in range(200)]
    assert not [port for port in ports if lowest <= port <= highest]


def test_a_killed_process_takes_its_children_with_it(tmp_path: Path) -> None:
    """A process that still holds the writing end of the pipe is alive."""
    shell = find_program("sh", package="dash")
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    server = start("master", [shell, "-c", f"sleep 60 > {fifo} & wait"], directory=tmp_path)
    with fifo.open("rb") as alive:
        server.kill()
        assert alive.read() == b""
