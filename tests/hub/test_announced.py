"""The log and the backplane in one Redis: appended events are announced to the other processes in the same step, once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
from pytest_django import Settings

from holdfast import wiring
from holdfast.backplane.envelope import split
from holdfast.hub import messages
from holdfast.log.base import Draft, LogUnavailable
from holdfast.runtime import Runtime
from tests.services.redis import RedisServer
from tests.services.redis_cluster import Cluster

LOBBY = "rooms/lobby"
WAIT = 30.0
"""Longest time in seconds that a test waits for something that must happen."""

Start = Callable[[str], Awaitable[Runtime]]


@pytest.fixture
async def start(settings: Settings) -> AsyncIterator[Start]:
    """Starts a runtime from the settings: one process's, as far as the others can see."""
    started: list[Runtime] = []

    async def start(url: str, backplane: str = "redis") -> Runtime:
        settings.HOLDFAST = {
            "REDIS": url,
            "LOG": "redis",
            "BACKPLANE": backplane,
            "PRESENCE": "memory",
            "RECONCILE_SECONDS": 3600,
        }
        runtime = wiring.build_runtime()
        await runtime.hub()
        started.append(runtime)
        return runtime

    yield start
    for runtime in started:
        await runtime.stop()


class Member:
    """Remembers the offset and the payload of each event, and lets a test wait for them."""

    client = ""
    ready = True
    blocked = False

    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self.resets = 0
        self._changed = asyncio.Event()

    async def join(self, runtime: Runtime, topic: str = LOBBY) -> "Member":
        pending = await (await runtime.hub()).begin_join(topic, durable=True)
        pending.subscribe(self)
        return self

    async def has(self, count: int) -> list[tuple[int, bytes]]:
        async with asyncio.timeout(WAIT):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.heard

    def write(self, burst: Any) -> None:
        self.heard += [(event.offset, event.payload) for event in burst.events]
        self._changed.set()

    def write_reset(self, reset: Any) -> None:
        self.resets += 1

    def fail(self) -> None:
        raise AssertionError("the member was told that its join failed")

    def overflow(self) -> None:
        raise AssertionError("the member stalled")


class Wire:
    """Messages on the channels of one server, from any sender."""

    def __init__(self, subscriber: Any) -> None:
        self._subscriber = subscriber

    async def news_until(self, sign: bytes) -> list[Any]:
        """The entries in all messages up to the message ``sign``."""
        found: list[Any] = []
        async with asyncio.timeout(WAIT):
            while True:
                message = await self._subscriber.get_message(timeout=WAIT)
                for part in split(message["data"]) if message else ():
                    if part == sign:
                        return found
                    found.append(messages.decode("", part))


@contextlib.asynccontextmanager
async def watching(url: str) -> AsyncIterator[Wire]:
    async with redis.asyncio.Redis.from_url(url) as client, client.pubsub() as subscriber:
        await subscriber.psubscribe("holdfast:0:*")
        await subscriber.get_message(timeout=WAIT)  # the confirmation
        yield Wire(subscriber)


def draft(text: str, topic: str = LOBBY) -> Draft:
    return Draft(topic=topic, name="said", payload=text.encode())


async def publish(runtime: Runtime, *drafts: Draft) -> None:
    """Publish as code without an event loop does."""
    await asyncio.to_thread(runtime.publisher.publish, drafts, durable=True)


async def test_each_event_arrives_once_everywhere_and_is_sent_once(start: Start, redis_url: str) -> None:
    here, there = await start(redis_url), await start(redis_url)
    members = [await Member().join(runtime) for runtime in (here, here, there)]
    found: list[Any] = []
    async with watching(redis_url) as wire:
        for number in range(20):
            await publish(here, draft(f"here {number}"))
            await publish(there, draft(f"there {number} a"), draft(f"there {number} b"))
        await asyncio.gather(*[here.publisher.apublish([draft(f"a {n}")], durable=True) for n in range(40)])
        for runtime in (here, there):
            runtime.backplane.send("end", b"end")  # after whatever waits in the queue
            found += await wire.news_until(b"end")

    assert [entry.offset for item in found for entry in item.entries] == list(range(1, 101))
    for member in members:
        assert [offset for offset, _ in await member.has(100)] == list(range(1, 101))
        assert member.heard == members[0].heard
        assert member.resets == 0


async def test_in_a_cluster_the_node_of_each_topic_announces_its_events(
    start: Start, redis_cluster: Cluster
) -> None:
    here, there = await start(redis_cluster.url), await start(redis_cluster.url)
    topics = [f"rooms/{number}/{{}}%" for number in range(30)]
    members = [await Member().join(there, topic) for topic in topics]
    for number in range(2):
        await publish(here, *[draft(f"{topic} {number}", topic) for topic in topics])

    for topic, member in zip(topics, members, strict=True):
        assert [payload for _, payload in await member.has(2)] == [
            f"{topic} {number}".encode() for number in range(2)
        ]
    (batch,) = await asyncio.to_thread(here.log.append, [draft("more")])
    assert batch.announced


async def test_an_event_that_the_log_did_not_take_is_never_announced(
    start: Start, own_redis: RedisServer
) -> None:
    runtime = await start(own_redis.url)
    member = await Member().join(runtime)
    await asyncio.to_thread(own_redis.stop)
    with pytest.raises(LogUnavailable):
        await publish(runtime, draft("refused"))
    with pytest.raises(LogUnavailable):
        await runtime.publisher.apublish([draft("refused too")], durable=True)
    await asyncio.to_thread(own_redis.start_again)

    async with watching(own_redis.url) as wire:
        runtime.backplane.send("end", b"end")
        assert await wire.news_until(b"end") == []
    assert member.heard == []


@pytest.mark.parametrize(("backplane", "announced"), [("redis", True), ("memory", False)])
async def test_the_log_announces_only_if_the_backplane_is_in_the_same_redis(
    start: Any, redis_url: str, backplane: str, announced: bool
) -> None:
    runtime = await start(redis_url, backplane)
    (batch,) = await asyncio.to_thread(runtime.log.append, [draft("hello")])
    assert batch.announced is announced
