"""Members in a process's memory, which other processes do not see."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import conf, wiring
from holdfast.backplane.base import Backplane
from holdfast.backplane.local import LocalBackplane
from holdfast.backplane.memory import MemoryBackplane
from holdfast.presence.base import Write
from holdfast.presence.memory import MemoryPresence


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hf-") as path:
        yield Path(path) / "local"


def presence(backplane: Backplane, **holdfast: str) -> MemoryPresence:
    made = wiring.build_presence(conf.read(holdfast)[0], backplane)
    assert isinstance(made, MemoryPresence)
    return made


async def serve(path: Path) -> LocalBackplane:
    backplane = LocalBackplane(path)
    await backplane.start(lambda *_: None, lambda *_: None, lambda: None)
    return backplane


async def test_a_command_that_reads_members_logs_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = presence(LocalBackplane(path))
    await asyncio.to_thread(command.members, "rooms/lobby", 10, lambda *_: None)
    assert caplog.text == ""  # no other process serves clients
    server = await serve(path)
    for _ in range(2):
        await asyncio.to_thread(command.members, "rooms/lobby", 10, lambda *_: None)
    await server.stop()
    assert caplog.text.count("knows only the members that are connected to itself") == 1
    assert '{"REDIS": "redis://localhost:6379/0"}' in caplog.text


async def test_each_of_two_servers_logs_a_warning_when_a_member_joins(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    servers = [await serve(path), await serve(path)]
    for server in servers:
        store = presence(server)
        await store.open("lease", 15)
        await store.change("lease", [Write(topic="rooms/lobby", entering={"ada": b"{}"})])
    for server in servers:
        await server.stop()
    assert len(caplog.records) == 2


async def test_one_server_alone_and_a_chosen_memory_store_log_no_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(path)
    await presence(server).read([("rooms/lobby", 10)])
    await presence(LocalBackplane(path), PRESENCE="memory").read([("rooms/lobby", 10)])
    await presence(MemoryBackplane()).read([("rooms/lobby", 10)])
    await server.stop()
    assert caplog.records == []
