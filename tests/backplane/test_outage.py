"""Channel layers while Redis stops and starts again."""

import asyncio
import logging
import time
from collections.abc import Callable

import pytest
from pytest_django import Settings

from holdfast.backplane.channels import ChannelsBackplane
from tests.services.redis import RedisServer

from .conftest import REDIS_LAYERS, configure
from .ends import Receiver

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("backend", REDIS_LAYERS)]


async def until_it_arrives(sender: ChannelsBackplane, receiver: Receiver, topic: str, text: bytes) -> None:
    """Send until it arrives: messages that a sender gives up while Redis is away are lost, as the contract allows."""

    async def again() -> None:
        while True:
            sender.send(topic, text)
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(again())
    await receiver.until(lambda: (topic, text) in receiver.news)
    sending.cancel()


def timed(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


async def test_after_a_restart_it_reports_an_interruption_and_continues(
    backend: str, settings: Settings, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    configure(settings, backend, own_redis.url)
    sender = ChannelsBackplane("two")
    receiver = await Receiver(ChannelsBackplane("one", pulse=0.5)).start("rooms/lobby")
    sender.send("rooms/lobby", b"before")
    await receiver.has(("rooms/lobby", b"before"))

    caplog.set_level(logging.WARNING, "holdfast")
    own_redis.kill()
    for backplane in (sender, receiver.backplane):
        times = sorted(timed(lambda to=backplane: to.send("rooms/lobby", b"during")) for _ in range(1000))
        # In seconds. The slowest calls do not count: the machine has other work at the same time.
        assert times[-10] < 0.05
    await receiver.backplane.subscribe("rooms/while-away")  # neither raises nor takes long
    assert receiver.interruptions == 0

    await asyncio.to_thread(own_redis.start_again)
    await receiver.until(lambda: receiver.interruptions)
    await until_it_arrives(sender, receiver, "rooms/lobby", b"after")
    await until_it_arrives(sender, receiver, "rooms/while-away", b"after")
    warnings = [record.getMessage() for record in caplog.records if record.name == "holdfast.backplane"]
    # Once for each of the two.
    assert len([text for text in warnings if "cannot send" in text]) <= 2, warnings
    assert len([text for text in warnings if "may have missed" in text]) == receiver.interruptions == 1, (
        warnings
    )
    await receiver.backplane.stop()


async def test_a_connection_that_broke_between_two_pulses_is_reported(
    backend: str, settings: Settings, own_redis: RedisServer
) -> None:
    configure(settings, backend, own_redis.url)
    sender = ChannelsBackplane("two")
    receiver = await Receiver(ChannelsBackplane("one", pulse=60)).start("rooms/lobby")
    await asyncio.to_thread(own_redis.disconnect_everyone)
    await receiver.until(lambda: receiver.interruptions)
    await until_it_arrives(sender, receiver, "rooms/lobby", b"after")
    await receiver.backplane.stop()


async def test_it_starts_while_redis_is_away_and_begins_when_it_comes(
    backend: str, settings: Settings, own_redis: RedisServer
) -> None:
    configure(settings, backend, own_redis.url)
    own_redis.kill()
    receiver = await Receiver(ChannelsBackplane("one", pulse=0.5)).start("rooms/lobby")
    await asyncio.to_thread(own_redis.start_again)
    await receiver.until(lambda: receiver.interruptions)
    await until_it_arrives(ChannelsBackplane("two"), receiver, "rooms/lobby", b"after")
    await receiver.backplane.stop()


async def test_it_stops_while_redis_is_away(backend: str, settings: Settings, own_redis: RedisServer) -> None:
    configure(settings, backend, own_redis.url)
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby")
    own_redis.kill()
    async with asyncio.timeout(15):
        await receiver.backplane.stop()
