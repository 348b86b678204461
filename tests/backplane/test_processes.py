"""Processes that only send: they have no event loop, may fork, and may end at any moment."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from holdfast.backplane.base import Backplane
from holdfast.backplane.channels import ChannelsBackplane
from holdfast.backplane.local import LocalBackplane
from holdfast.backplane.redis import RedisBackplane
from holdfast.redis.client import RedisStore
from tests.services.redis import RedisServer

from .conftest import REDIS_LAYERS, configure
from .ends import Receiver

ROOT = Path(__file__).parents[2]
Run = Callable[..., Awaitable[str]]


def sent(*messages: bytes) -> list[tuple[str, bytes]]:
    return [("rooms/lobby", message) for message in messages]


@pytest.fixture(params=[*REDIS_LAYERS, "redis", "local"])
async def receiver(
    request: pytest.FixtureRequest, settings: Settings, short_path: Path
) -> AsyncIterator[Receiver]:
    backplane: Backplane
    redis_url = "" if request.param == "local" else request.getfixturevalue("redis_url")
    if request.param == "local":
        where = {"hosts": [str(short_path / "local")], "prefix": ""}
        settings.CHANNEL_LAYERS = {"one": {"BACKEND": "local", "CONFIG": where}}
        backplane = LocalBackplane(short_path / "local")
    elif request.param == "redis":
        settings.CHANNEL_LAYERS = {
            "one": {"BACKEND": "redis", "CONFIG": {"hosts": [redis_url], "prefix": ""}}
        }
        backplane = RedisBackplane(RedisStore(redis_url))
    else:
        configure(settings, request.param, redis_url)
        backplane = ChannelsBackplane("one")
    receiver = await Receiver(backplane).start("rooms/lobby")
    yield receiver
    await receiver.backplane.stop()


@pytest.fixture
def run(receiver: Receiver, settings: Settings) -> Run:
    """Runs tests/backplane/program.py, or another program there, to its end."""
    layer = settings.CHANNEL_LAYERS["one"]

    async def run(how: str, *arguments: str, program: str = "program") -> str:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-W", "ignore::DeprecationWarning", "-m", f"tests.backplane.{program}", how],
            *[layer["BACKEND"], layer["CONFIG"]["hosts"][0], layer["CONFIG"]["prefix"], *arguments],
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(170):
            output, errors = await process.communicate()
        assert (process.returncode, errors.decode()) == (0, "")
        return output.decode()

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
    await receiver.has_from_senders(sent(b"parent", b"parent again"), sent(b"child"))


async def test_messages_queued_when_a_process_forks_are_sent_once(receiver: Receiver, run: Run) -> None:
    await run("fork-while-queued")
    await receiver.until(lambda: len(receiver.news) >= 201)
    numbers = [message for message in receiver.of("rooms/lobby") if message != b"child"]
    assert numbers == [b"%d" % number for number in range(200)]


@pytest.mark.parametrize("receiver", ["redis"], indirect=True)
async def test_events_that_a_forked_child_appends_to_an_announcing_log_reach_its_parent(run: Run) -> None:
    await run("fork-announced")


async def test_a_child_of_multiprocessing_has_sent_when_it_ends(receiver: Receiver, run: Run) -> None:
    await run("multiprocessing")
    await receiver.has_from_senders(sent(b"parent", b"parent again"), sent(b"child"))


@pytest.mark.slow
@pytest.mark.parametrize("patcher", ["gevent", "eventlet"])
async def test_where_threads_are_greenlets_the_background_loop_runs_in_its_own_only(
    receiver: Receiver, run: Run, patcher: str
) -> None:
    """Whatever greenlet gets its turn while messages leave finds the loop that is its own, or none."""
    await run(patcher, program="greenlets")
    await receiver.until(lambda: b"last words" in receiver.of("rooms/lobby"))
    assert len(receiver.of("rooms/lobby")) == 201


async def test_a_process_that_leaves_without_the_interpreter_s_end_has_sent(
    receiver: Receiver, run: Run
) -> None:
    """``os._exit``, by which the children of RQ and of Celery's pool end."""
    await run("leave")
    await receiver.has_from_senders(sent(b"parent", b"last words"), sent(b"child"))


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_twenty_thousand_messages_open_no_more_connections_than_one(
    receiver: Receiver, run: Run
) -> None:
    await run("many")
    await receiver.until(lambda: b"done" in receiver.of("rooms/lobby"))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("receiver", ["redis"], indirect=True)
async def test_a_hundred_thousand_messages_are_sent_by_one_connection(
    receiver: Receiver, run: Run, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.config_resetstat()

        def ours() -> int:
            return sum(found["name"] == "holdfast" for found in client.client_list())

        counts = [ours()]

        async def watch() -> None:
            while True:
                counts.append(await asyncio.to_thread(ours))
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        print(await run("many", "100000"))
        watching.cancel()
        await asyncio.wait([watching])
        assert max(counts) == counts[0] + 1
        # Each of our connections names itself once: there never was a second one.
        assert client.info("commandstats")["cmdstat_client|setname"]["calls"] == 1
    await receiver.until(lambda: b"done" in receiver.of("rooms/lobby"))
