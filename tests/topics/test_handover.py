"""``holdfast.flush``: all published events have left the process when it returns."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import pytest
from django.core.exceptions import SynchronousOnlyOperation

import holdfast
from holdfast import Event, Topic, wiring
from holdfast import runtime as runtimes
from holdfast.backplane.redis import RedisBackplane
from holdfast.log.memory import MemoryLog
from holdfast.redis.client import RedisStore
from holdfast.runtime import Runtime
from holdfast.threads.threads import Inline, Threads
from tests.services.redis import RedisServer
from tests.support.hubs import draft


class Tick(Event):
    number: int


class Ticker(Topic):
    route = "flushed/<slug:symbol>"
    events = [Tick]


@contextlib.contextmanager
def publishing(redis: RedisServer) -> Iterator[Runtime]:
    made = Runtime(
        log=MemoryLog(),
        backplane=RedisBackplane(RedisStore(redis.url)),
        threads=Threads(1),
        log_threads=Inline(),
    )
    with runtimes.using(made):
        yield made
        made.backplane.flush(5)


def publish(count: int) -> None:
    for number in range(count):
        Ticker(symbol="acme").publish(Tick(number))


def test_when_flush_returns_redis_has_all_events(own_redis: RedisServer) -> None:
    with publishing(own_redis), own_redis.client() as client, client.pubsub() as pubsub:
        pubsub.psubscribe("*flushed/acme*")
        pubsub.get_message(timeout=5)
        publish(6)
        assert holdfast.flush(10)
        # What Redis took before is here before the answer to a command that it was sent after.
        pubsub.ping()
        heard = b""
        while (message := pubsub.get_message(timeout=5)) and message["type"] != "pong":
            heard += message["data"]
    assert all(b'{"number":%d}' % number in heard for number in range(6))


def test_flush_waits_no_longer_than_its_timeout(own_redis: RedisServer) -> None:
    with publishing(own_redis):
        publish(1)
        assert holdfast.flush(10)
        own_redis.freeze()
        try:
            publish(1)
            began = time.monotonic()
            assert not holdfast.flush(0.3)
            assert 0.3 <= time.monotonic() - began < 2
        finally:
            own_redis.thaw()
        assert holdfast.flush(10)


def test_orders_that_the_log_did_not_take_are_waited_for(own_redis: RedisServer) -> None:
    with publishing(own_redis) as made:
        made.control.retry_queue.keep([draft(1)])
        assert holdfast.flush(10)
        assert not made.control.retry_queue


def test_a_process_that_has_published_nothing_has_nothing_to_wait_for() -> None:
    runtimes.install(lambda: pytest.fail("nothing is to be built for it"))
    try:
        assert holdfast.flush()
    finally:
        wiring.install()


def test_on_an_event_loop_flush_must_be_awaited(own_redis: RedisServer) -> None:
    """This holds on the loop that the messages leave from too, because that one must run for it."""

    async def main(made: Runtime) -> bool:
        await made.hub()
        publish(3)
        with pytest.raises(SynchronousOnlyOperation, match="aflush"):
            holdfast.flush()
        flushed = await holdfast.aflush(10)
        await made.stop()
        return flushed

    with publishing(own_redis) as made:
        assert asyncio.run(main(made))
