"""A log that went back in time: a restored backup keeps its epochs, and gives offsets out a second time.

Events with a number are from before the log went back; events with a letter came after.
"""

import asyncio

import pytest

from holdfast.backplane.memory import faithful
from holdfast.hub.hub import Timing
from holdfast.log.base import Batch, LogUnavailable
from holdfast.protocol.frames import JoinedPayload
from holdfast.protocol.positions import Position
from holdfast.streams.recent import PAGE
from tests.log.going_back import go_back
from tests.support.clock import in_jumping_time, turns
from tests.support.hubs import TOPIC, Listener, Server, World, draft, publish


async def heard_then_went_back(*, to: int = 1, said: int = 3) -> tuple[World, Server, Listener]:
    """A listener got events 1, 2, 3, of which the log has lost all but the first."""
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, *range(1, said + 1))
    assert listener.offsets == [*range(1, said + 1)]
    go_back(world.log, TOPIC, to)
    return world, server, listener


class Late:
    """Hold back messages to other servers from now on."""

    def __init__(self, world: World) -> None:
        self.messages: list[bytes] = []
        world.exchange.fault = self._keep

    def _keep(self, topic: str, message: bytes) -> list[bytes]:
        self.messages.append(message)
        return []

    def arrive_at(self, server: Server) -> None:
        for message in self.messages:
            server.hub._receive(TOPIC, message)


def state(world: World) -> tuple[str, str, int]:
    """The reset that every subscriber has to get."""
    head = world.head()
    return ("epoch", head.epoch, head.offset)


@in_jumping_time
async def test_a_log_that_ends_before_the_emitted_entries_gets_a_new_epoch() -> None:
    world, server, listener = await heard_then_went_back()
    old = world.head().epoch
    await server.hub.compare()
    await turns()
    assert world.head().epoch != old
    assert listener.resets == [state(world)]
    publish(server, "a")
    assert listener.heard == ["1", "2", "3", "a"]
    assert listener.offsets == [1, 2, 3, 2]


@in_jumping_time
@pytest.mark.parametrize("again", [1, 2, 3], ids=["shorter", "as long", "longer"])
async def test_a_comparison_notices_however_far_the_log_has_grown_again(again: int) -> None:
    world, server, listener = await heard_then_went_back(to=1)
    old = world.head().epoch
    world.write(*"abc"[:again])
    await server.hub.compare()
    await turns()
    assert world.head().epoch != old
    assert listener.resets == [state(world)]
    assert listener.heard == ["1", "2", "3"]


@in_jumping_time
@pytest.mark.parametrize("to", [1, 2], ids=["an offset given out again", "the next offset"])
async def test_entries_that_contradict_emitted_ones_are_not_emitted(to: int) -> None:
    """At once, without a comparison: by the first server that publishes."""
    world, _, listener = await heard_then_went_back(to=to)
    there = await world.server()
    publish(there, "a", "b")  # the second follows another entry than the one that was emitted
    await turns()
    assert listener.resets == [state(world)]
    assert listener.heard == ["1", "2", "3"]
    publish(there, "c")
    await turns()
    assert listener.heard == ["1", "2", "3", "c"]


@in_jumping_time
async def test_a_server_notices_contradictions_in_its_own_entries() -> None:
    world, server, listener = await heard_then_went_back(to=1)
    publish(server, "a")
    await turns()
    assert listener.resets == [state(world)]
    assert listener.heard == ["1", "2", "3"]


@in_jumping_time
async def test_servers_that_notice_together_change_the_epoch_once() -> None:
    world = World()
    servers = [await world.server() for _ in range(3)]
    listeners = [await server.join() for server in servers]
    publish(servers[0], 1, 2, 3)
    await turns()
    go_back(world.log, TOPIC, 1)
    for server in servers:
        server.threads.hold("heads")
    comparing = [asyncio.ensure_future(server.hub.compare()) for server in servers]
    await turns()
    for server in servers:
        server.threads.let_go("heads")
    await asyncio.gather(*comparing)
    await turns()
    assert [server.threads.calls.count("rotate_epoch") for server in servers] == [1, 1, 1]
    assert [listener.resets for listener in listeners] == [[state(world)]] * 3


@in_jumping_time
async def test_a_late_entry_that_the_log_lost_is_noticed_when_the_log_goes_on() -> None:
    """A server that started after the log went back receives an entry from before that."""
    world = World()
    before, after = await world.server(), await world.server()
    late = Late(world)
    publish(before, 1)
    await after.join()
    publish(before, 2)
    await before.hub.stop()
    go_back(world.log, TOPIC, 1)
    await after.hub.compare()
    listener = await after.join()
    late.arrive_at(after)
    assert listener.heard == ["2"]  # no server can know that it is gone
    publish(after, "a")
    await turns()
    assert listener.resets == [state(world)]
    publish(after, "b")
    assert listener.heard == ["2", "b"]


@in_jumping_time
async def test_entries_held_beyond_a_gap_are_not_emitted_after_other_entries() -> None:
    world = World(timing=Timing(patience=0.5))
    here, there = await world.server(), await world.server()
    listener = await here.join()
    publish(there, 1)
    await turns()
    late = Late(world)
    publish(there, 2)
    late.messages.clear()
    publish(there, 3)
    late.arrive_at(here)  # 3 waits for 2
    go_back(world.log, TOPIC, 1)
    world.write("a")
    await asyncio.sleep(1)
    assert listener.heard == ["1", "a"], "2 is gone, and 3 followed it"


@in_jumping_time
async def test_a_page_read_before_the_log_went_back_is_not_emitted_after_newer_entries() -> None:
    world = World()
    here, there = await world.server(), await world.server()
    listener = await here.join()
    late = Late(world)
    publish(there, 1)
    late.messages.clear()
    publish(there, 2)
    here.threads.hold("read")
    late.arrive_at(here)  # 1 is missing, and is read at once with 2; the answer takes its time
    await turns()
    go_back(world.log, TOPIC, 0)
    world.exchange.fault = faithful
    publish(there, "a")
    await turns()
    assert listener.heard == ["a"]
    here.threads.let_go("read")
    await turns(20)
    assert listener.heard == ["a"]
    publish(there, "b")
    await turns(20)
    assert listener.heard == ["a", "b"]


@in_jumping_time
async def test_a_slow_client_is_not_served_entries_that_contradict_those_it_has() -> None:
    world = World()
    server = await world.server()
    slow = await server.join(Listener(room=2))
    publish(server, *range(1, 2 * PAGE + 400))
    assert slow.heard == ["1", "2"]
    go_back(world.log, TOPIC, 1)
    world.write(*["a"] * (2 * PAGE + 500))
    server.resume(slow)
    await turns(40)
    assert slow.resets == [state(world)]
    assert slow.heard == ["1", "2"]


@in_jumping_time
@pytest.mark.parametrize("again", [0, 1, 2, 5])
async def test_a_position_from_before_the_log_went_back_is_never_honoured(again: int) -> None:
    """Not even by a server that knows nothing of it, and however far the log has grown again."""
    world = World()
    before = await world.server()
    publish(before, 1, 2, 3)
    seen = world.head()
    await before.hub.stop()
    go_back(world.log, TOPIC, 1)
    world.write(*"abcde"[:again])
    server = await world.server()
    listener = await server.join(since=seen)
    head = world.head()
    assert listener.joined == JoinedPayload(
        epoch=head.epoch, offset=head.offset, stamp=head.stamp, recovered=False
    )
    await turns()
    assert listener.heard == []


@in_jumping_time
async def test_a_position_that_both_logs_have_is_honoured() -> None:
    world = World()
    before = await world.server()
    publish(before, 1)
    seen = world.head()
    publish(before, 2, 3)
    await before.hub.stop()
    go_back(world.log, TOPIC, 1)
    world.write("a", "b")
    server = await world.server()
    listener = await server.join(since=seen)
    assert listener.joined is not None
    assert listener.joined.recovered
    await turns()
    assert listener.heard == ["a", "b"]


@in_jumping_time
async def test_a_server_examines_the_log_when_a_client_knows_more() -> None:
    """The server has not noticed yet; the client's position makes it ask the log."""
    world, here, listener = await heard_then_went_back(to=1)
    world.write("a", "b")
    there = await world.server()
    seen = world.head()
    assert (await there.join(since=seen)).joined is not None
    moved = await here.join(since=seen)
    assert moved.joined is not None
    assert moved.joined.recovered is False, "the epoch has changed since"
    assert moved.joined.epoch == world.head().epoch != seen.epoch
    assert listener.resets == [state(world)]


@in_jumping_time
async def test_a_log_that_was_found_too_short_gets_a_new_epoch_though_it_has_grown_again() -> None:
    """A client from before shows that the log ends below its server. It must not be sent to a position that is gone."""
    world = World()
    world.write(1)
    since = world.head()
    world.write(2, 3)
    server = await world.server()
    there = await server.join()
    go_back(world.log, TOPIC, 1)
    server.threads.hold("read")
    joining = asyncio.create_task(server.join(since=since))
    await turns()
    world.write("a", "b", "c")
    server.threads.let_go("read")
    listener = await joining
    assert listener.joined is not None
    assert listener.joined.recovered is False
    assert listener.joined.epoch == world.head().epoch != since.epoch
    assert there.resets == [state(world)]


@in_jumping_time
async def test_a_client_cannot_make_the_log_change_its_epoch() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, 1, 2, 3)
    head = world.head()
    for offset, stamp in [(2**53 - 1, 0), (2**53 - 1, 7), (3, 7), (2, 7), (1, 7)]:
        liar = await server.join(since=Position(epoch=head.epoch, offset=offset, stamp=stamp))
        assert liar.joined is not None
        assert liar.joined.recovered is False
    await server.hub.compare()
    assert world.head() == head
    assert listener.resets == []


@in_jumping_time
async def test_a_position_without_a_stamp_is_honoured_by_its_offset() -> None:
    world = World()
    server = await world.server()
    publish(server, 1, 2, 3)
    back = await server.join(since=Position(epoch=world.head().epoch, offset=1))
    await turns()
    assert back.heard == ["2", "3"]


@in_jumping_time
async def test_a_snapshot_older_than_the_stream_is_not_followed_by_lost_entries() -> None:
    world, server, listener = await heard_then_went_back(to=1)

    async def snapshot() -> tuple[Position, bytes]:
        return world.head(), b'"state"'

    late = await server.join(snapshot=snapshot)
    await turns()
    assert listener.resets == [state(world)]
    assert late.joined is not None
    assert (late.joined.epoch, late.joined.offset) == (world.head().epoch, 1)
    assert late.heard == []


@in_jumping_time
async def test_a_log_that_does_not_answer_is_asked_again() -> None:
    world, server, listener = await heard_then_went_back(to=1)
    server.threads.fail("rotate_epoch", LogUnavailable("away"))
    await server.hub.compare()
    await turns()
    assert listener.resets == []
    await server.hub.compare()
    await turns()
    assert listener.resets == [state(world)]


@in_jumping_time
async def test_late_entries_alone_do_not_make_the_stream_ask_the_log() -> None:
    world = World()
    here, there = await world.server(), await world.server()
    listener = await here.join()
    late = Late(world)
    publish(there, 1, 2, 3)
    late.arrive_at(here)
    await turns()
    here.threads.calls.clear()
    late.arrive_at(here)
    await turns()
    assert listener.heard == ["1", "2", "3"]
    assert here.threads.calls == []


async def following_an_answer_that_is_overtaken() -> tuple[World, Server, Listener]:
    """The log's epoch changed twice. A server has asked for it after the first change, and has no answer yet."""
    world = World()
    server = await world.server()
    listener = await server.join()
    world.log.rotate_epoch(TOPIC)
    server.threads.hold("heads")
    server.hub.follower.on_entries(server.hub._streams[TOPIC], entry_of(world))
    await turns()
    world.log.rotate_epoch(TOPIC)
    return world, server, listener


def entry_of(world: World) -> Batch:
    """Write an entry, and return it as the backplane brings it."""
    (batch,) = world.log.append([draft("news")])
    return batch


@in_jumping_time
async def test_a_client_that_knows_the_newest_log_is_recovered_by_a_server_that_hears_of_an_older_one_first() -> (
    None
):
    world, server, _ = await following_an_answer_that_is_overtaken()
    joining = asyncio.ensure_future(server.join(since=world.head()))
    await turns()
    server.threads.let_go("heads")
    client = await joining
    assert client.joined is not None
    assert (client.joined.recovered, client.joined.epoch) == (True, world.head().epoch)
    assert client.resets == []


@in_jumping_time
async def test_a_comparison_whose_answer_comes_after_an_older_one_asks_again() -> None:
    world, server, listener = await following_an_answer_that_is_overtaken()
    comparing = asyncio.ensure_future(server.hub.compare())
    await turns()
    server.threads.let_go("heads")
    await comparing
    await turns()
    assert listener.resets[-1] == state(world)
