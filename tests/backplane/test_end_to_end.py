"""A server and a worker as two real processes, with a real log between them, and Redis that comes and goes."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.services.redis import RedisServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts tests/backplane/news.py on a database of this test's own."""
    started: list[Process] = []

    async def start(how: str, *arguments: object) -> Process:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.backplane.news", how, str(tmp_path / "log.sqlite3")],
            *map(str, arguments),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
        )
        started.append(process)
        return process

    assert await (await start("migrate", "redis://localhost", 1, "database")).wait() == 0
    yield start
    for process in started:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            async with asyncio.timeout(20):
                await process.wait()


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def test_a_worker_s_events_reach_a_server_s_members_long_before_a_comparison(
    start: Start, redis_url: str
) -> None:
    server = await start("hear", redis_url, 3600, "database")
    assert await line(server) == "ready"
    worker = await start("publish", redis_url, 3600, "database", 20)
    assert [await line(server) for _ in range(20)] == [f"{number + 1} {number}" for number in range(20)]
    assert await line(server) == "None passing"
    assert await worker.wait() == 0


async def test_an_event_in_redis_arrives_at_once_although_its_process_died(
    start: Start, redis_url: str
) -> None:
    server = await start("hear", redis_url, 3600, "redis")
    assert await line(server) == "ready"
    worker = await start("die", redis_url, 3600, "redis")
    assert await line(server) == "1 0"
    assert await worker.wait() == -signal.SIGKILL


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_nothing_is_lost_doubled_or_reordered_while_redis_is_away(
    start: Start, own_redis: RedisServer, how: str
) -> None:
    server = await start("hear", own_redis.url, 0.5, "database")
    assert await line(server) == "ready"
    worker = await start("publish", own_redis.url, 0.5, "database", 300)
    took = [float(await line(worker)) for _ in range(50)]
    own_redis.kill() if how == "killed" else own_redis.freeze()
    took += [float(await line(worker)) for _ in range(150)]
    await asyncio.to_thread(own_redis.start_again if how == "killed" else own_redis.thaw)
    took += [float(await line(worker)) for _ in range(100)]
    heard: list[str] = []
    while len(heard) < 300:
        heard += [text for text in [await line(server)] if text[0].isdigit()]
    assert heard == [f"{number + 1} {number}" for number in range(300)]
    # In milliseconds; SQLite waits for a disk now and then.
    assert sorted(took)[-5] < 250, "publishing waited for Redis"
    assert await worker.wait() == 0
