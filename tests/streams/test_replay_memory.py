"""Memory of a hub for replays: it is bounded in bytes, and a read ends when no join waits for it."""

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from holdfast.hub import messages
from holdfast.log.base import Batch, Draft, Entry
from holdfast.log.memory import MemoryLog
from holdfast.protocol.positions import Position
from holdfast.streams.log_follower import HELD_BYTES
from holdfast.streams.recent import PAGES_BYTES, RecentEvents, ReplayMemory, weight_of
from holdfast.threads.threads import Threads
from tests.support.clock import in_jumping_time, turns
from tests.support.hubs import TOPIC, Listener, World, publish

LARGE = 50_000


class CopyingLog(MemoryLog):
    """A log whose entries are new objects at every read, as those of a database are."""

    def read(self, topic: str, after: Position, limit: int, size: int | None = None) -> list[Entry]:
        return [
            Entry(offset=e.offset, name=e.name, payload=bytes(bytearray(e.payload)), stamp=e.stamp)
            for e in super().read(topic, after, limit, size)
        ]


def large(topic: str = TOPIC) -> Draft:
    return Draft(topic=topic, name="said", payload=b'"%s"' % (b"x" * LARGE))


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@in_jumping_time
async def test_joins_that_leave_at_once_leave_little_behind(traced: None) -> None:
    world = World(log=CopyingLog())
    world.log.append([large()] * 400)
    server = await world.server()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for after in range(0, 340, 20):  # 17 positions
        listener = Listener(room=1)
        await server.join(listener, since=after)
        assert listener.subscription is not None
        server.hub.leave(listener.subscription)
    now, peak = tracemalloc.get_traced_memory()
    assert now - before < 2 * PAGES_BYTES
    assert peak - before < 4 * PAGES_BYTES


@in_jumping_time
async def test_a_replay_of_large_events_is_complete_and_reads_each_page_once() -> None:
    world = World(log=CopyingLog())
    world.log.append([large()] * 60)
    server = await world.server()
    listeners = await asyncio.gather(*[server.join(since=0) for _ in range(20)])
    await asyncio.sleep(0.1)
    for listener in listeners:
        assert listener.offsets == list(range(1, 61))
    assert server.hub.log_reads == 10  # six events of 50 KB reach the bytes of a page


@in_jumping_time
async def test_the_streams_of_a_hub_share_a_bound_and_the_least_used_lose_their_events() -> None:
    world = World(log=CopyingLog())
    server = await world.server()
    server.hub._memory._limit = 4_000_000
    for n in range(20):
        topic = f"rooms/{n}"
        await server.join(topic=topic)
        publish(server, *["x" * 1000] * 250, topic=topic)
        assert server.hub._memory.weight <= 4_000_000
    reads = server.hub.log_reads

    newest = await server.join(topic="rooms/19", since=0)
    await turns()
    assert server.hub.log_reads == reads
    oldest = await server.join(topic="rooms/0", since=0)
    await turns()
    assert server.hub.log_reads > reads
    assert newest.offsets == oldest.offsets == list(range(1, 251))


@in_jumping_time
async def test_the_weighed_bytes_are_those_in_memory() -> None:
    memory = ReplayMemory()
    server = await World().server()
    server.hub._memory = memory
    await server.join()
    recent: RecentEvents = server.hub._streams[TOPIC].recent
    for size in (10, 5_000, 70_000, 300_000, 20, 900_000, 1):
        publish(server, '"%s"' % ("x" * size))
        page = server.hub._streams[TOPIC].prepare(
            [Entry(offset=n, name="said", payload=b"x" * size) for n in range(1, 20)]
        )
        recent.keep_page(size, 0, page)
        recent.keep_page(size, 0, page)
        recent.burst(page)
        kept = [recent._events, *recent._pages.values(), *(burst.events for burst in recent._bursts.values())]
        assert memory.weight == sum(map(weight_of, kept))
    await server.hub._close(server.hub._streams[TOPIC])
    assert memory.weight == 0


@in_jumping_time
async def test_batches_beyond_a_gap_are_held_up_to_a_number_of_bytes() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.write(*["x" * 100_000] * 41)
    head = world.log.heads([TOPIC])[TOPIC]
    entries = world.log.read(TOPIC, Position(epoch=head.epoch, offset=0), 100)
    for entry in entries[1:]:
        batch = Batch(topic=TOPIC, epoch=head.epoch, entries=(entry,))
        server.hub._receive(TOPIC, messages.encode(batch))
    progress = server.hub._streams[TOPIC].progress
    assert 0 < progress.held_bytes <= HELD_BYTES
    await asyncio.sleep(0.1)
    assert listener.offsets == list(range(1, 42))
    assert progress.held_bytes == 0


@in_jumping_time
async def test_entries_of_a_topic_that_is_being_opened_wait_up_to_a_number_of_bytes() -> None:
    world = World()
    server = await world.server()
    server.threads.hold("heads")
    joining = asyncio.ensure_future(server.join(since=None))
    await turns()
    publish(server, *["x" * 100_000] * 40)
    assert sum(len(batch.entries[0].payload) for batch in server.hub._early[TOPIC]) <= HELD_BYTES
    server.threads.let_go("heads")
    listener = await joining
    await asyncio.sleep(0.1)
    assert listener.joined is not None
    assert listener.joined.offset is not None
    assert listener.offsets == list(range(listener.joined.offset + 1, 41))


class CountingLog(CopyingLog):
    """A log that blocks, and counts its reads."""

    blocking = True

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, topic: str, after: Position, limit: int, size: int | None = None) -> list[Entry]:
        self.reads += 1
        return super().read(topic, after, limit, size)


async def test_a_read_is_dropped_when_all_that_join_have_left() -> None:
    log, threads, busy = CountingLog(), Threads(1), threading.Event()
    world = World(log=log)
    world.write(1, 2, 3)
    server = await world.server()
    await server.join()
    server.hub._threads = server.hub.follower._threads = server.hub.follower._pages._threads = threads
    occupied = asyncio.ensure_future(threads.run(busy.wait))
    await asyncio.sleep(0.01)
    joins = [asyncio.ensure_future(server.join(since=1)) for _ in range(3)]
    await turns()
    stays = asyncio.ensure_future(server.join(since=2))
    await turns()
    for join in joins:
        join.cancel()
    await turns()
    again = asyncio.ensure_future(server.join(since=1))
    await turns()
    again.cancel()
    await turns()
    busy.set()
    await occupied
    assert (await stays).joined is not None
    assert log.reads == 1
    await server.hub.stop()
    threads.close()


async def test_a_read_is_dropped_when_the_subscription_that_waits_for_it_ends() -> None:
    log, threads, busy = CountingLog(), Threads(1), threading.Event()
    world = World(log=log)
    server = await world.server()
    slow, other = Listener(room=1), Listener(room=1)
    await server.join(slow)
    await server.join(other)
    publish(server, 1, 2, 3)
    server.hub._streams[TOPIC].recent.clear()
    server.hub._threads = server.hub.follower._threads = server.hub.follower._pages._threads = threads
    occupied = asyncio.ensure_future(threads.run(busy.wait))
    await asyncio.sleep(0.01)
    for listener in (slow, other):
        server.resume(listener)
    await turns()
    for listener in (slow, other):
        assert listener.subscription is not None
        server.hub.leave(listener.subscription)
    await turns()
    assert not server.hub.follower._pending
    busy.set()
    await occupied
    await threads.run(int)
    assert log.reads == 0
    await server.hub.stop()
    threads.close()
