"""The same promises with threads and connections that really run at once, in an order that no test decides."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from django.db import connections, transaction

from holdfast.backplane.memory import MemoryExchange
from holdfast.hub.hub import Timing
from holdfast.log.database import DatabaseLog
from holdfast.protocol.positions import Position
from holdfast.threads.threads import Threads
from tests.support.hubs import Server, draft

SECONDS = 20.0


@asynccontextmanager
async def servers(alias: str, exchange: MemoryExchange) -> AsyncIterator[list[Server]]:
    log, timing = DatabaseLog(alias), Timing(compare=0.2)
    made = [Server(log, exchange, Threads(2, keep_connections=True), timing) for _ in range(2)]
    for server in made:
        await server.start()
    yield made
    for server in made:
        await server.hub.stop()
        await asyncio.to_thread(server.threads.close)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - real threads make it come true
            await asyncio.sleep(0.01)


def closing(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    return run


def test_nothing_is_lost_doubled_or_reordered_while_everything_happens_at_once(database: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    topic = f"t/{uuid4().hex}"
    exchange, weather = MemoryExchange(), random.Random(seed)
    exchange.fault = lambda _, message: [message] * weather.choice([0, 1, 1, 2])

    def publisher(server: Server, name: int) -> Callable[[], None]:
        chance = random.Random(f"{seed} {name}")

        def work() -> None:
            for number in range(25):
                drafts = [draft(1000 * name + number, topic)]
                if chance.random() < 0.4:
                    server.publisher.publish(drafts, durable=True)
                    continue
                with transaction.atomic(using=database):
                    server.publisher.publish(drafts, durable=True)
                    with transaction.atomic(using=database):
                        server.publisher.publish([draft(-1, topic)], durable=True)
                        transaction.set_rollback(True, using=database)

        return closing(work)

    async def story() -> None:
        async with servers(database, exchange) as both:
            stays = [await server.join(topic=topic) for server in both]
            work = asyncio.gather(
                *[asyncio.to_thread(publisher(both[name % 2], name)) for name in range(4)],
            )
            assert stays[0].joined is not None
            epoch = str(stays[0].joined.epoch)
            moves = await both[0].join(topic=topic, since=Position(epoch=epoch, offset=0))
            heard: list[str] = []
            offsets: list[int] = []
            at = both[0]
            while not work.done():
                await asyncio.sleep(0.01)
                assert moves.subscription is not None
                at.hub.leave(moves.subscription)
                heard += moves.heard
                offsets += moves.offsets
                at = weather.choice(both)
                since = Position(epoch=epoch, offset=offsets[-1] if offsets else 0)
                moves = await at.join(topic=topic, since=since)
            await work
            await until(lambda: len(offsets) + len(moves.offsets) >= 100)
            await until(lambda: all(len(listener.offsets) >= 100 for listener in stays))
            moves._heard, moves._offsets = heard + moves.heard, offsets + moves.offsets
            for listener in (*stays, moves):
                assert listener.offsets == list(range(1, 101))
                assert listener.resets == []
                for name in range(4):
                    own = [int(n) for n in listener.heard if int(n) // 1000 == name]
                    assert own == [1000 * name + number for number in range(25)]

    asyncio.run(story())


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_transaction_held_open_delays_no_other_events() -> None:
    topic = f"t/{uuid4().hex}"
    may_commit, has_written = threading.Event(), threading.Event()

    async def story() -> None:
        async with servers("postgres", MemoryExchange()) as both:
            here, there = both
            listeners = [await server.join(topic=topic) for server in both]

            def slow() -> None:
                with transaction.atomic(using="postgres"):
                    here.publisher.publish([draft("slow", topic)], durable=True)
                    has_written.set()
                    assert may_commit.wait(SECONDS)

            holding = asyncio.ensure_future(asyncio.to_thread(closing(slow)))
            await asyncio.to_thread(has_written.wait, SECONDS)

            def quick() -> None:
                for number in range(10):
                    there.publisher.publish([draft(number, topic)], durable=True)
                with transaction.atomic(using="postgres"):
                    there.publisher.publish([draft(10, topic)], durable=True)

            await asyncio.to_thread(closing(quick))
            quick_ones = [str(number) for number in range(11)]
            await until(lambda: all(len(listener.heard) >= 11 for listener in listeners))
            assert [listener.heard for listener in listeners] == [quick_ones] * 2
            assert not holding.done()
            may_commit.set()
            await holding
            await until(lambda: all(len(listener.heard) >= 12 for listener in listeners))
            assert [listener.heard for listener in listeners] == [[*quick_ones, "slow"]] * 2

    asyncio.run(story())
