"""Servers as real processes, which are killed, stopped, and frozen."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LEASE = 5.0


class Process:
    """A running `tests.presence.program`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: list[str] | None = None

    @classmethod
    async def start(cls, url: str, *members: str) -> "Process":
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.presence.program", url, str(LEASE), *members],
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return cls(process)

    async def sees(self, *members: str, within: float = 20.0) -> float:
        """Read until its client sees exactly these members; return the seconds that it took."""
        assert self.process.stdout is not None
        began = time.monotonic()
        try:
            async with asyncio.timeout(within):
                while self.seen != sorted(members):
                    line = await self.process.stdout.readline()
                    assert line, "the process has ended"
                    self.seen = json.loads(line)
        except TimeoutError:
            raise AssertionError(
                f"expected {sorted(members)}, but after {within} s it sees {self.seen}"
            ) from None
        return time.monotonic() - began

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


Start = Callable[..., Awaitable[Process]]


@pytest_asyncio.fixture
async def start(redis_url: str) -> AsyncIterator[Start]:
    made: list[Process] = []

    async def one(*members: str) -> Process:
        made.append(await Process.start(redis_url, *members))
        return made[-1]

    yield one
    for process in made:
        await process.end()


async def test_members_of_a_killed_process_are_removed_everywhere_within_one_and_a_half_leases(
    start: Start,
) -> None:
    dying = await start("ada", "both", "linus")
    others = [await start("grace", "both"), await start("mary")]
    for process in (dying, *others):
        await process.sees("ada", "both", "linus", "grace", "mary")
    dying.process.send_signal(signal.SIGKILL)
    took = [await process.sees("grace", "both", "mary") for process in others]
    assert max(took) < 1.5 * LEASE


async def test_members_of_a_process_that_stops_are_removed_at_once(start: Start) -> None:
    stopping, other = await start("ada", "linus"), await start("grace")
    for process in (stopping, other):
        await process.sees("ada", "linus", "grace")
    assert stopping.process.stdin is not None
    stopping.process.stdin.write(b"\n")
    assert await other.sees("grace") < LEASE / 2
    assert await stopping.process.wait() == 0


async def test_a_frozen_process_comes_back_with_its_own_members_and_no_others(start: Start) -> None:
    frozen, other = await start("ada", "both"), await start("grace", "both")
    for process in (frozen, other):
        await process.sees("ada", "both", "grace")
    frozen.process.send_signal(signal.SIGSTOP)
    await other.sees("both", "grace")
    third = await start("mary")
    await other.sees("both", "grace", "mary")
    frozen.process.send_signal(signal.SIGCONT)
    for process in (frozen, other, third):
        await process.sees("ada", "both", "grace", "mary")
    other.process.send_signal(signal.SIGKILL)
    for process in (frozen, third):
        await process.sees("ada", "both", "mary")
