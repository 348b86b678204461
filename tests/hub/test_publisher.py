"""Publishing: into the log first, then to all hubs and processes; group commit."""

import asyncio
import threading
from collections.abc import Sequence

import msgspec
import pytest
from django.db import connection, transaction

from holdfast.hub.hub import Timing
from holdfast.log.base import Batch, Draft, LogUnavailable
from holdfast.log.memory import MemoryLog
from tests.support.clock import in_jumping_time, turns
from tests.support.hubs import TOPIC, Listener, World, draft, publish


@pytest.mark.django_db(transaction=True)
def test_events_of_a_transaction_arrive_after_its_commit_and_never_after_a_rollback() -> None:
    @in_jumping_time
    async def run() -> None:
        server = await World().server()
        durable, passing = await server.join(), await server.join(topic="rooms/passing", durable=False)

        def work() -> None:
            with transaction.atomic():
                publish(server, 1)
                publish(server, 1, topic="rooms/passing", durable=False)
                with transaction.atomic():
                    publish(server, 2)
                    publish(server, 2, topic="rooms/passing", durable=False)
                    transaction.set_rollback(True)
                seen.append([*durable.heard, *passing.heard])
            connection.close()

        seen: list[list[str]] = []
        await asyncio.to_thread(work)
        await turns()
        assert seen == [[]]
        assert (durable.heard, passing.heard) == (["1"], ["1"])

    run()


@in_jumping_time
async def test_nothing_is_published_when_there_is_nothing_to_publish() -> None:
    server = await World().server()
    server.publisher.publish([], durable=True)
    await server.publisher.apublish([], durable=True)
    assert server.log.topics() == []


@in_jumping_time
async def test_events_published_at_the_same_time_share_a_transaction() -> None:
    world = World()
    server = await world.server()
    world.log.blocking = False
    world.log.blocking = True
    listener = await server.join()
    await asyncio.gather(*[server.publisher.apublish([draft(n)], durable=True) for n in range(50)])
    assert listener.heard == [str(n) for n in range(50)]
    assert server.threads.calls.count("append") == 1


@in_jumping_time
async def test_events_published_while_a_transaction_runs_share_the_next_one() -> None:
    world = World()
    server = await world.server()
    world.log.blocking = True
    server.threads.hold("append")
    first = asyncio.ensure_future(server.publisher.apublish([draft(1)], durable=True))
    await turns()
    others = [asyncio.ensure_future(server.publisher.apublish([draft(n)], durable=True)) for n in (2, 3)]
    await turns()
    assert not first.done()
    server.threads.let_go("append")
    await asyncio.gather(first, *others)
    assert server.threads.calls.count("append") == 2


@in_jumping_time
async def test_one_bad_event_fails_only_its_own_publisher() -> None:
    world = World()
    server = await world.server()
    world.log.blocking = True
    listener = await server.join()
    server.threads.fail("append", ValueError("together"))
    results = await asyncio.gather(
        *[server.publisher.apublish([draft(n)], durable=True) for n in range(3)], return_exceptions=True
    )
    assert results == [None, None, None]
    assert listener.heard == ["0", "1", "2"]


@in_jumping_time
async def test_a_log_lost_on_the_way_is_not_written_to_again() -> None:
    world = World()
    server = await world.server()
    world.log.blocking = True
    server.threads.fail("append", LogUnavailable("it may have been carried out"))
    results = await asyncio.gather(
        *[server.publisher.apublish([draft(n)], durable=True) for n in range(3)], return_exceptions=True
    )
    assert [type(result) for result in results] == [LogUnavailable] * 3
    assert server.threads.calls.count("append") == 1


@in_jumping_time
async def test_events_are_written_once_though_delivering_them_fails(caplog: pytest.LogCaptureFixture) -> None:
    world = World(timing=Timing(compare=2))
    server = await world.server()
    world.log.blocking = True
    listener = await server.join()

    def broken(topic: str, message: bytes) -> None:
        raise ConnectionError("no backplane")

    server.backplane.send = broken  # type: ignore[method-assign]
    await asyncio.gather(*[server.publisher.apublish([draft(n)], durable=True) for n in range(3)])
    publish(server, 3)
    assert world.head().offset == 4
    assert listener.heard == ["0", "1", "2", "3"]
    assert "failed to deliver messages" in caplog.text


@in_jumping_time
async def test_a_cancelled_publisher_does_not_affect_the_others() -> None:
    world = World()
    server = await world.server()
    world.log.blocking = True
    server.threads.hold("append")
    given_up = asyncio.ensure_future(server.publisher.apublish([draft(1)], durable=True))
    other = asyncio.ensure_future(server.publisher.apublish([draft(2)], durable=True))
    await turns()
    given_up.cancel()
    server.threads.let_go("append")
    await other
    assert world.head().offset == 2


@in_jumping_time
async def test_events_of_several_threads_arrive_in_each_threads_order() -> None:
    server = await World().server()
    listener = await server.join()

    def work(name: int) -> None:
        for n in range(50):
            publish(server, 100 * name + n)

    await asyncio.gather(*[asyncio.to_thread(work, name) for name in range(4)])
    await asyncio.sleep(0.1)
    assert listener.offsets == list(range(1, 201))


def test_publishing_goes_on_when_the_loop_of_a_hub_has_ended() -> None:
    world = World()

    @in_jumping_time
    async def run() -> None:
        await (await world.server()).join()

    run()
    publish(world.servers[0], 1, 2)
    thread = threading.Thread(target=publish, args=(world.servers[0], 3))
    thread.start()
    thread.join()
    assert world.log.heads([TOPIC])[TOPIC].offset == 3


@in_jumping_time
async def test_messages_of_many_topics_take_few_turns_of_the_loop_and_few_calls_of_the_backplane() -> None:
    world = World(timing=Timing(compare=3600))
    here, there = await world.server(), await world.server()
    near, far = await here.join(topic="inbox/7"), await there.join(topic="inbox/2400")
    turns_taken: list[int] = []
    calls: list[int] = []
    deliver, send_many = here.hub.deliver, here.backplane.send_many
    here.hub.deliver = lambda items: (turns_taken.append(len(items)), deliver(items))[1]  # type: ignore[method-assign]
    here.backplane.send_many = lambda items: (calls.append(len(items)), send_many(items))[1]  # type: ignore[method-assign]

    drafts = [draft(n, topic=f"inbox/{n}") for n in range(2500)]
    await asyncio.to_thread(here.publisher.publish, drafts, durable=True)
    await turns()

    assert (near.heard, far.heard) == (["7"], ["2400"])
    assert turns_taken == calls == [1000, 1000, 500]


class Announcing(MemoryLog):
    """A log that says it has announced its batches to the other processes."""

    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        return [msgspec.structs.replace(batch, announced=True) for batch in super().append(drafts)]


@in_jumping_time
async def test_entries_that_the_log_has_announced_are_delivered_here_and_not_sent() -> None:
    world = World(Announcing(), timing=Timing(compare=3600))
    here, there = await world.server(), await world.server()
    near, far = await here.join(), await there.join()
    publish(here, 1)
    await here.publisher.apublish([draft(2)], durable=True)
    await turns()
    assert (near.heard, far.heard) == (["1", "2"], [])


@in_jumping_time
async def test_a_subscriber_gets_events_of_its_own_process_once() -> None:
    world = World()
    world.exchange.fault = lambda topic, message: [message, message]
    here, there = await world.server(), await world.server()
    listeners = [await here.join(), await there.join(Listener())]
    publish(here, 1)
    await turns()
    assert [listener.offsets for listener in listeners] == [[1], [1]]
