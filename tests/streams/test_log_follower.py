"""The rules of order: entries that are next, old, beyond a gap, late, or of another log."""

import asyncio

import pytest

from holdfast.hub import messages
from holdfast.hub.hub import Timing
from holdfast.log.base import Batch, Entry, LogUnavailable
from holdfast.streams.log_follower import HELD
from tests.support.clock import in_jumping_time, turns
from tests.support.hubs import TOPIC, Listener, Server, World, draft, publish


def tell(server: Server, epoch: str, *offsets: int) -> None:
    """Let entries arrive from another process, in this order, whatever the log says."""
    entries = tuple(Entry(offset=o, name="said", payload=str(o).encode()) for o in offsets)
    batch = Batch(topic=TOPIC, epoch=epoch, entries=entries)
    server.hub._receive(TOPIC, messages.encode(batch))


@in_jumping_time
async def test_an_event_published_here_arrives_at_once() -> None:
    server = await World().server()
    listener = await server.join()
    publish(server, 1, 2)
    publish(server, 3)
    assert listener.offsets == [1, 2, 3]


@in_jumping_time
async def test_an_event_published_elsewhere_arrives() -> None:
    world = World()
    here, there = await world.server(), await world.server()
    listener = await here.join()
    publish(there, 1, 2)
    await turns()
    assert listener.offsets == [1, 2]
    assert here.hub.log_reads == 0


@in_jumping_time
async def test_older_entries_are_dropped() -> None:
    world = World()
    server = await world.server()
    world.write(*range(5))
    listener = await server.join()
    epoch = world.head().epoch
    tell(server, epoch, 4, 5)
    world.write(6)
    tell(server, epoch, 6)
    tell(server, epoch, 6)
    tell(server, epoch, 5, 6)
    assert listener.offsets == [6]


@in_jumping_time
async def test_of_overlapping_batches_only_the_new_entries_are_emitted() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.write(*range(4))
    epoch = world.head().epoch
    tell(server, epoch, 1, 2)
    tell(server, epoch, 2, 3, 4)
    assert listener.offsets == [1, 2, 3, 4]


@in_jumping_time
async def test_entries_that_come_too_early_wait_for_the_ones_before() -> None:
    world = World(timing=Timing(patience=0.01))
    server = await world.server()
    listener = await server.join()
    world.write(1, 2, 3)
    epoch = world.head().epoch
    tell(server, epoch, 3)
    tell(server, epoch, 2)
    assert listener.offsets == []
    tell(server, epoch, 1)
    assert listener.offsets == [1, 2, 3]
    await asyncio.sleep(0.1)
    assert server.hub.log_reads == 0


@in_jumping_time
async def test_a_gap_that_stays_open_is_read_from_the_log_once() -> None:
    world = World()
    server = await world.server()
    listeners = [await server.join() for _ in range(10)]
    world.write(*range(1, 6))
    tell(server, world.head().epoch, 4)
    await asyncio.sleep(0.01)
    assert all(listener.offsets == [1, 2, 3, 4, 5] for listener in listeners)
    assert server.hub.log_reads == 1


@in_jumping_time
async def test_a_gap_longer_than_a_page_is_read_to_its_end() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.write(*range(1, 1001))
    tell(server, world.head().epoch, 1000)
    await asyncio.sleep(0.01)
    assert listener.offsets == list(range(1, 1001))
    assert server.hub.log_reads == 5


@in_jumping_time
async def test_more_batches_than_are_held_back_are_read_from_the_log() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.write(*range(1, 3 * HELD))
    epoch = world.head().epoch
    for offset in range(3 * HELD - 1, 1, -1):
        tell(server, epoch, offset)
    await asyncio.sleep(0.01)
    assert listener.offsets == list(range(1, 3 * HELD))


@in_jumping_time
async def test_entries_that_come_while_a_gap_is_read_are_not_emitted_twice() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.write(1, 2, 3)
    epoch = world.head().epoch
    server.threads.hold("read")
    tell(server, epoch, 3)
    await asyncio.sleep(0.01)
    tell(server, epoch, 1)
    tell(server, epoch, 2)
    world.write(4)
    tell(server, epoch, 4)
    server.threads.let_go("read")
    await turns()
    assert listener.offsets == [1, 2, 3, 4]


@in_jumping_time
async def test_a_read_that_was_too_early_is_repeated_when_more_is_known() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    epoch = world.head().epoch
    server.threads.hold("read")
    tell(server, epoch, 2)  # the log does not hold it yet
    await asyncio.sleep(0.01)
    world.write(1, 2, 3)
    tell(server, epoch, 3)
    server.threads.let_go("read")
    await turns()
    assert listener.offsets == [1, 2, 3]


@in_jumping_time
async def test_lost_messages_are_repaired_by_the_next_comparison() -> None:
    world = World(timing=Timing(compare=2))
    server = await world.server()
    listener = await server.join()
    world.write(1, 2, 3)
    await asyncio.sleep(2.1)
    assert listener.offsets == [1, 2, 3]


@in_jumping_time
async def test_comparisons_go_on_after_any_error(caplog: pytest.LogCaptureFixture) -> None:
    world = World(timing=Timing(compare=2, linger=1))
    server = await world.server()
    listener = await server.join()

    async def broken(topic: str) -> None:
        raise ConnectionError("no backplane")

    server.backplane.unsubscribe = broken  # type: ignore[method-assign]
    await server.join(topic="rooms/closing")
    server.threads.fail("heads", LogUnavailable("away"), ValueError("a bug"))
    (other,) = server.hub._streams["rooms/closing"].subscriptions
    server.hub.leave(other)
    world.write(1)
    await asyncio.sleep(7)
    assert listener.offsets == [1]
    assert "rooms/closing" not in server.hub._streams


@in_jumping_time
async def test_a_gap_is_filled_when_the_log_answers_again() -> None:
    world = World(timing=Timing(compare=2, patience=0))
    server = await world.server()
    listener = await server.join()
    world.write(1, 2, 3)
    server.threads.fail("read", LogUnavailable("away"), LogUnavailable("still"))
    tell(server, world.head().epoch, 3)
    await asyncio.sleep(0.1)
    assert listener.offsets == []
    await asyncio.sleep(5)
    assert listener.offsets == [1, 2, 3]


@in_jumping_time
async def test_an_interruption_of_the_backplane_repairs_durable_topics_at_once() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.write(1, 2)
    server.hub.interrupted()
    await turns()
    assert listener.offsets == [1, 2]
    assert listener.resets == []


@in_jumping_time
async def test_an_interruption_of_the_backplane_resets_ephemeral_topics() -> None:
    world = World()
    server = await world.server()
    listener = await server.join(durable=False)
    world.exchange.interrupt()
    await turns()
    assert listener.resets == [("interrupted", None, None)]


# ── another log ──────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_rebuilt_log_is_noticed_by_its_entries() -> None:
    world = World()
    here, there = await world.server(), await world.server()
    listener = await here.join()
    publish(there, 1, 2)
    await turns()
    world.rebuild()
    publish(there, 3)
    await turns()
    head = world.head()
    assert listener.resets == [("epoch", head.epoch, 1)]
    publish(there, 4)
    await turns()
    assert listener.offsets == [1, 2, 2]


@in_jumping_time
async def test_a_rebuilt_log_is_noticed_by_the_comparison() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, 1, 2)
    world.rebuild()
    await server.hub.compare()
    assert listener.resets == [("epoch", world.head().epoch, 0)]


@in_jumping_time
async def test_a_comparison_that_the_stream_outran_is_ignored() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    server.threads.hold("heads")
    comparison = asyncio.ensure_future(server.hub.compare())
    await turns()
    publish(server, 1, 2)
    server.threads.let_go("heads")
    await comparison
    assert (listener.resets, listener.offsets) == ([], [1, 2])


@in_jumping_time
async def test_an_answer_of_the_old_log_does_not_bring_it_back() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, 1)
    server.threads.hold("heads")
    comparison = asyncio.ensure_future(server.hub.compare())
    await turns()
    held = server.threads._held.pop("heads")
    world.rebuild()
    await server.hub.compare()
    held.set()
    await comparison
    assert listener.resets == [("epoch", world.head().epoch, 0)]


@in_jumping_time
async def test_late_entries_of_an_old_log_are_ignored() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, 1)
    tell(server, "before", 7, 8)
    await turns()
    assert (listener.resets, listener.offsets) == ([], [1])


@in_jumping_time
async def test_many_entries_of_another_log_cause_one_question() -> None:
    world = World()
    server = await world.server()
    await server.join()
    before = server.threads.calls.count("heads")
    for offset in range(100):
        tell(server, "another", offset + 1)
    await turns()
    assert server.threads.calls.count("heads") == before + 1


@in_jumping_time
async def test_a_stream_behind_the_trimmed_part_resets_its_subscribers_and_goes_on_from_the_head() -> None:
    world = World()
    server = await world.server()
    listener, slow = await server.join(), await server.join(Listener(room=1))
    publish(server, 1, 2)
    world.write(3, 4, 5)
    world.log.trim(TOPIC, count=1)
    await server.hub.compare()
    await turns()
    head = world.head()
    assert listener.resets == slow.resets == [("trimmed", head.epoch, 5)]
    publish(server, 6)
    assert listener.offsets == [1, 2, 6]
    server.resume(slow)
    await turns()
    assert slow.offsets == [1, 6]


@in_jumping_time
async def test_a_subscription_ahead_of_a_stream_that_lost_entries_to_a_trim_is_not_reset() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, 1)
    world.write(2, 3, 4)
    world.log.trim(TOPIC, count=1)
    ahead, slow = await server.join(since=4), await server.join(since=3)
    await turns()
    assert listener.resets == [("trimmed", world.head().epoch, 4)]
    publish(server, 5)
    assert (ahead.resets, ahead.offsets) == ([], [5])
    assert (slow.resets, slow.offsets) == ([], [4, 5])


@in_jumping_time
async def test_a_subscription_ahead_of_the_trimmed_logs_head_is_not_reset() -> None:
    world = World()
    server = await world.server()
    await server.join()
    world.write(1, 2)
    world.log.trim(TOPIC, count=0)
    server.threads.hold("read")
    await server.hub.compare()
    await turns()
    world.write(3, 4)
    ahead = await server.join(since=4)
    server.threads.let_go("read")
    await turns()
    publish(server, 5)
    await turns()
    assert (ahead.resets, ahead.offsets) == ([], [5])


@in_jumping_time
async def test_an_older_answer_about_a_trim_does_not_replace_what_is_known_of_the_log() -> None:
    world = World(timing=Timing(compare=1e9, patience=0))
    server = await world.server()
    listener = await server.join()
    world.write(1, 2)
    epoch = world.head().epoch
    world.log.trim(TOPIC, count=0)
    server.threads.hold("read")
    await server.hub.compare()
    await turns()
    world.write(3, 4)
    tell(server, epoch, 3, 4)
    server.threads.let_go("read")
    await turns()
    assert listener.resets == [("trimmed", epoch, 2)]
    assert listener.offsets == [3, 4]


@in_jumping_time
async def test_a_trim_does_not_set_back_a_stream_that_has_moved_since() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.write(1, 2, 3)
    epoch = world.head().epoch
    world.log.trim(TOPIC, count=0)
    read = world.log.read

    def overtaken(*args: object) -> object:
        tell(server, epoch, 1, 2, 3)  # they arrive while the log says that they are gone
        return read(*args)  # type: ignore[arg-type]

    overtaken.__name__ = "read"
    world.log.read = overtaken  # type: ignore[method-assign,assignment]
    await server.hub.compare()
    await turns()
    assert (listener.resets, listener.offsets) == ([], [1, 2, 3])


# ── subscribers and their events ───────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_an_excluded_client_gets_the_event_neither_live_nor_replayed() -> None:
    world = World()
    server = await world.server()
    author, other = await server.join(Listener("ada")), await server.join(Listener("grace"))
    publish(server, 1, exclude="ada")
    publish(server, 2)
    assert (author.offsets, other.offsets) == ([2], [1, 2])
    again = await server.join(Listener("ada"), since=0)
    await turns()
    assert again.offsets == [2]
    publish(server, 3)
    assert again.offsets == [2, 3]


@in_jumping_time
async def test_a_subscription_that_ended_gets_nothing_more() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, 1)
    assert listener.subscription is not None
    server.hub.leave(listener.subscription)
    publish(server, 2)
    await turns()
    assert listener.offsets == [1]


@in_jumping_time
async def test_ephemeral_events_arrive_in_the_order_of_their_publisher() -> None:
    world = World()
    here, there = await world.server(), await world.server()
    listeners = [
        await here.join(durable=False),
        await there.join(durable=False),
        await here.join(Listener("ada"), durable=False),
    ]
    for n in range(5):
        publish(there, n, durable=False, exclude="ada")
    await turns()
    assert [listener.heard for listener in listeners] == [list("01234"), list("01234"), []]


@in_jumping_time
async def test_a_slow_client_does_not_delay_others_on_an_ephemeral_topic() -> None:
    world = World()
    server = await world.server()
    slow = await server.join(Listener(room=1), durable=False)
    for n in range(5):
        publish(server, n, durable=False)
    server.resume(slow)
    publish(server, 5, durable=False)
    assert slow.heard == ["0", "1", "2", "3", "4", "5"]


@in_jumping_time
async def test_an_ephemeral_event_on_a_durable_topic_is_not_replayed() -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    publish(server, "typing", durable=False)
    publish(server, 1)
    late = await server.join(since=0)
    await turns()
    assert (listener.heard, late.heard) == (["typing", "1"], ["1"])


@in_jumping_time
async def test_a_message_to_the_topics_group_arrives_as_an_event() -> None:
    world = World()
    server = await world.server()
    listener = await server.join(durable=False)
    world.exchange.group_send(TOPIC, {"type": "said", "n": 7})
    await turns()
    assert listener.heard == ["7"]


@in_jumping_time
async def test_a_foreign_message_on_the_backplane_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    server = await world.server()
    listener = await server.join()
    world.exchange.carry(TOPIC, b"hello?")
    await turns()
    assert listener.heard == []
    assert "not Holdfast's" in caplog.text


@in_jumping_time
@pytest.mark.parametrize("durable", [True, False])
async def test_a_subscriber_that_cannot_write_an_event_does_not_cost_others_the_event(durable: bool) -> None:
    def broken(event: object) -> None:
        raise OverflowError

    server = await World().server()
    listeners = [await server.join(durable=durable) for _ in range(3)]
    listeners[1].write = broken  # type: ignore[method-assign]
    publish(server, 1, durable=durable)
    publish(server, 2, durable=durable)
    assert [listener.heard for listener in listeners] == [["1", "2"], [], ["1", "2"]]
    assert listeners[1].failed
    again = await server.join(Listener(), since=0) if durable else None
    assert again is None or again.heard == ["1", "2"]


@in_jumping_time
async def test_events_emitted_in_one_turn_are_written_once() -> None:
    world = World()
    server = await world.server()
    bursts: list[list[int | None]] = []
    listener = await server.join()
    listener.write = lambda burst: bursts.append([event.offset for event in burst.events])  # type: ignore[method-assign]
    for n in range(3):
        server.publisher.publish([draft(n)], durable=True)
    server.publisher.publish([draft("typing")], durable=False)
    assert bursts == []
    await turns()
    assert bursts == [[1, 2, 3, None]]


@in_jumping_time
async def test_a_client_that_joins_in_the_turn_of_an_event_gets_it_once_or_starts_after_it() -> None:
    world = World()
    server = await world.server()
    early = await server.join()
    server.publisher.publish([draft("a")], durable=True)
    late = Listener()
    pending = await server.hub.begin_join(TOPIC, durable=True)
    late.subscription = pending.subscribe(late)
    server.publisher.publish([draft("b")], durable=True)
    await turns()
    assert early.heard == ["a", "b"]
    assert late.heard == ["b"]


@in_jumping_time
async def test_a_burst_is_joined_once_for_all_subscribers_of_the_same_events() -> None:
    world = World()
    server = await world.server()
    await server.join()
    publish(server, *range(10))
    bursts: list[object] = []
    for _ in range(3):
        back = Listener()
        back.write = bursts.append  # type: ignore[method-assign, assignment]
        await server.join(back, since=4)
    await turns()
    assert len(bursts) == 3
    assert len(set(map(id, bursts))) == 1


@in_jumping_time
async def test_many_events_emitted_in_one_turn_are_written_in_portions() -> None:
    world = World()
    server = await world.server()
    sizes: list[int] = []
    listener = await server.join()
    listener.write = lambda burst: sizes.append(len(burst.events))  # type: ignore[method-assign]
    server.publisher.publish([draft("x" * 1000) for _ in range(200)], durable=True)
    await turns()
    assert sum(sizes) == 200
    assert max(sizes) == 66
