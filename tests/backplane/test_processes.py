"""Processes that only send: they have no event loop, may fork, and may end at any moment."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from holdfast.backplane.channels import ChannelsBackplane

from .conftest import REDIS_LAYERS, configure
from .ends import Receiver

ROOT = Path(__file__).parents[2]
Run = Callable[[str], Awaitable[None]]


@pytest.fixture(params=REDIS_LAYERS)
async def receiver(
    request: pytest.FixtureRequest, settings: Settings, redis_url: str
) -> AsyncIterator[Receiver]:
    configure(settings, request.param, redis_url)
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby")
    yield receiver
    await receiver.backplane.stop()


@pytest.fixture
def run(receiver: Receiver, settings: Settings) -> Run:
    """Runs tests/backplane/program.py to its end."""
    layer = settings.CHANNEL_LAYERS["one"]

    async def run(how: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.backplane.program", how],
            *[layer["BACKEND"], layer["CONFIG"]["hosts"][0], layer["CONFIG"]["prefix"]],
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(170):
            _, errors = await process.communicate()
        assert (process.returncode, errors.decode()) == (0, "")

    return run


async def test_a_process_that_sends_one_message_and_exits_at_once_has_sent_it(
    receiver: Receiver, run: Run
) -> None:
    await run("at-exit")
    await receiver.has(("rooms/lobby", b"last words"))


async def test_a_thread_may_send_in_a_process_without_a_loop(receiver: Receiver, run: Run) -> None:
    await run("thread")
    await receiver.has(("rooms/lobby", b"from a thread"))


async def test_a_forked_child_sends_and_leaves_its_parent_s_connections_alone(
    receiver: Receiver, run: Run
) -> None:
    await run("fork")
    await receiver.has(*[("rooms/lobby", text) for text in (b"parent", b"child", b"parent again")])


async def test_what_is_queued_when_a_process_forks_is_sent_once(receiver: Receiver, run: Run) -> None:
    await run("fork-while-queued")
    await receiver.until(lambda: len(receiver.news) >= 201)
    numbers = [message for message in receiver.of("rooms/lobby") if message != b"child"]
    assert numbers == [b"%d" % number for number in range(200)]


async def test_a_child_of_multiprocessing_has_sent_when_it_ends(receiver: Receiver, run: Run) -> None:
    await run("multiprocessing")
    await receiver.has(*[("rooms/lobby", text) for text in (b"parent", b"child", b"parent again")])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_twenty_thousand_messages_open_no_more_connections_than_one(
    receiver: Receiver, run: Run
) -> None:
    await run("many")
    await receiver.until(lambda: b"done" in receiver.of("rooms/lobby"))
