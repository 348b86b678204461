"""Joining: at the right offset, from a position, with a snapshot, while streams open, move and close."""

import asyncio

import pytest

from holdfast.hub.hub import Timing
from holdfast.log.base import LogError, LogUnavailable
from holdfast.protocol.frames import JoinedPayload
from holdfast.protocol.positions import Position
from holdfast.streams.recent import PAGE
from tests.support.clock import in_jumping_time, turns
from tests.support.hubs import TOPIC, Listener, Server, World, publish


def told(listener: Listener) -> tuple[int | None, bool | None]:
    assert listener.joined is not None
    return listener.joined.offset, listener.joined.recovered


@in_jumping_time
async def test_without_a_position_the_stream_starts_at_its_head() -> None:
    world = World()
    world.write(1, 2)
    server = await world.server()
    listener = await server.join()
    publish(server, 3)
    assert told(listener) == (2, None)
    assert listener.offsets == [3]


@in_jumping_time
async def test_from_a_position_the_events_after_it_come_first() -> None:
    world = World()
    world.write(1, 2, 3)
    server = await world.server()
    listener = await server.join(since=1)
    publish(server, 4)
    await turns()
    assert told(listener) == (3, True)
    assert listener.offsets == [2, 3, 4]


@in_jumping_time
async def test_a_position_at_the_head_replays_nothing() -> None:
    world = World()
    world.write(1, 2)
    server = await world.server()
    listener = await server.join(since=2)
    assert told(listener) == (2, True)
    assert server.hub.log_reads == 0


@in_jumping_time
async def test_live_events_wait_until_the_replay_is_finished() -> None:
    world = World()
    world.write(*range(PAGE * 3))
    server = await world.server()
    listener = await server.join(since=0)
    publish(server, "live")
    assert len(listener.offsets) <= PAGE
    await turns()
    assert listener.offsets == list(range(1, PAGE * 3 + 2))
    assert listener.heard[-1] == "live"


@in_jumping_time
async def test_events_published_while_a_page_is_read_are_not_lost() -> None:
    world = World()
    world.write(*range(PAGE))
    server = await world.server()
    server.threads.hold("read")
    joining = asyncio.ensure_future(server.join(since=0))
    await turns()
    publish(server, 1, 2, 3)
    server.threads.let_go("read")
    listener = await joining
    publish(server, 4)
    await turns()
    assert listener.offsets == list(range(1, PAGE + 5))


@in_jumping_time
async def test_clients_that_rejoin_at_one_position_share_their_reads() -> None:
    world = World()
    world.write(*range(PAGE * 4))
    server = await world.server()
    listeners = await asyncio.gather(*[server.join(since=0) for _ in range(500)])
    await turns()
    assert all(listener.offsets == list(range(1, PAGE * 4 + 1)) for listener in listeners)
    assert server.hub.log_reads == 4


@in_jumping_time
async def test_recent_events_are_replayed_from_memory() -> None:
    server = await World().server()
    await server.join()
    publish(server, *range(100))
    late = await server.join(since=0)
    await turns()
    assert late.offsets == list(range(1, 101))
    assert server.hub.log_reads == 0


@in_jumping_time
async def test_a_trimmed_position_is_not_recovered() -> None:
    world = World()
    world.write(1, 2, 3)
    world.log.trim(TOPIC, count=1)
    server = await world.server()
    assert told(await server.join(since=0)) == (3, False)
    assert told(await server.join(since=2)) == (3, True)


@in_jumping_time
async def test_a_position_of_another_log_is_not_recovered() -> None:
    world = World()
    world.write(1, 2)
    server = await world.server()
    assert told(await server.join(since=Position(epoch="another", offset=1))) == (2, False)


@in_jumping_time
async def test_a_position_that_the_log_has_not_reached_is_not_recovered() -> None:
    world = World()
    world.write(1)
    server = await world.server()
    assert told(await server.join(since=5)) == (1, False)


@in_jumping_time
async def test_the_stream_catches_up_with_a_position_ahead_of_it() -> None:
    world = World()
    server = await world.server()
    early = await server.join()
    world.write(1, 2, 3)  # without a message to this process
    listener = await server.join(since=3)
    assert told(listener) == (3, True)
    publish(server, 4)
    await asyncio.sleep(0.1)
    assert (early.offsets, listener.offsets) == ([1, 2, 3, 4], [4])


@in_jumping_time
async def test_a_client_that_knows_the_new_log_before_this_process_does_is_recovered() -> None:
    world = World()
    server = await world.server()
    early = await server.join()
    publish(server, 1)
    world.rebuild()
    world.write(1, 2)
    listener = await server.join(since=Position(epoch=world.head().epoch, offset=1))
    await turns()
    assert told(listener) == (2, True)
    assert listener.offsets == [2]
    assert early.resets == [("epoch", world.head().epoch, 2)]


@in_jumping_time
async def test_a_shared_read_is_not_taken_for_a_newer_answer() -> None:
    world = World()
    server = await world.server()
    early = await server.join()
    publish(server, *range(10))
    server.hub._streams[TOPIC].recent.clear()
    world.log.trim(TOPIC, count=1)
    server.threads.hold("read")
    first = asyncio.ensure_future(server.join(since=2))
    await turns()
    publish(server, 11)
    server.hub._streams[TOPIC].recent.clear()
    second = asyncio.ensure_future(server.join(since=2))
    await turns()
    server.threads.let_go("read")
    assert told(await first) == told(await second) == (11, False)
    assert early.resets == []


@in_jumping_time
async def test_a_join_counts_its_finding_though_the_stream_began_again_during_it() -> None:
    world = World()
    server = await world.server()
    await server.join()
    world.rebuild()
    world.write(1)
    server.threads.hold("heads")
    comparison = asyncio.ensure_future(server.hub.compare())  # finds the new log at 1
    await turns()
    world.write(2)
    joining = asyncio.ensure_future(server.join(since=Position(epoch=world.head().epoch, offset=2)))
    await turns()
    server.threads.let_go("heads")
    await comparison
    assert told(await joining) == (2, True)


@in_jumping_time
async def test_a_log_rebuilt_while_a_join_waits_is_not_mixed_with_the_old() -> None:
    world = World()
    world.write(*range(10))
    server = await world.server()
    server.threads.hold("read")
    joining = asyncio.ensure_future(server.join(since=4))
    await turns()
    world.rebuild()
    world.write(*range(20))
    await server.hub.compare()
    server.threads.let_go("read")
    listener = await joining
    head = world.head()
    assert listener.joined == JoinedPayload(epoch=head.epoch, offset=20, stamp=head.stamp, recovered=False)
    await turns()
    assert (listener.offsets, listener.resets) == ([], [])


@in_jumping_time
async def test_a_page_of_the_old_log_is_not_written_to_subscriptions_of_the_new_one() -> None:
    world = World()
    world.write(*range(10))
    server = await world.server()
    stands = await server.join(Listener(room=1))
    publish(server, 11, 12)
    server.hub._streams[TOPIC].recent.clear()
    server.threads.hold("read")
    server.resume(stands)
    await turns()
    stands.ready = False
    world.rebuild()
    world.write(*range(11))
    await server.hub.compare()
    publish(server, "new")
    server.hub._streams[TOPIC].recent.clear()
    server.resume(stands)
    server.threads.let_go("read")
    await turns()
    assert stands.resets == [("epoch", world.head().epoch, 11)]
    assert stands.heard == ["11", "new"]


@in_jumping_time
async def test_an_ephemeral_topic_has_no_positions() -> None:
    server = await World().server()
    first = await server.join(durable=False)
    again = await server.join(durable=False, since=Position(epoch="k", offset=3))
    assert first.joined == JoinedPayload()
    assert again.joined == JoinedPayload(recovered=False)


# ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_snapshot_comes_with_the_position_that_it_agrees_with() -> None:
    world = World()
    world.write(1)
    server = await world.server()

    async def snapshot() -> tuple[Position, bytes]:
        taken = world.head()
        publish(server, 2)
        return taken, b'"state"'

    listener = await server.join(snapshot=snapshot)
    await turns()
    assert told(listener) == (1, None)
    assert listener.joined is not None
    assert bytes(listener.joined.snapshot) == b'"state"'  # type: ignore[arg-type]
    assert listener.offsets == [2]


@in_jumping_time
async def test_the_stream_catches_up_with_a_snapshot_ahead_of_it() -> None:
    world = World()
    server = await world.server()

    async def snapshot() -> tuple[Position, bytes]:
        world.write(1, 2)
        return world.head(), b"2"

    listener = await server.join(snapshot=snapshot)
    world.write(3)
    await asyncio.sleep(5)
    assert listener.offsets == [3]


@in_jumping_time
async def test_a_snapshot_of_a_new_log_brings_the_stream_there() -> None:
    world = World()
    server = await world.server()
    early = await server.join()

    async def snapshot() -> tuple[Position, bytes]:
        return world.head(), b"0"

    publish(server, 1)
    world.rebuild()
    world.write(1)
    listener = await server.join(snapshot=snapshot)
    publish(server, 2)
    assert (early.resets, listener.resets) == ([("epoch", world.head().epoch, 1)], [])
    assert (early.offsets, listener.offsets) == ([1, 2], [2])


@in_jumping_time
async def test_a_snapshot_of_the_old_log_is_taken_again() -> None:
    world = World()
    server = await world.server()
    early = await server.join()
    states = []

    async def snapshot() -> tuple[Position, bytes]:
        position = world.head()
        states.append(position.epoch)
        if len(states) == 1:
            world.rebuild()
            await server.hub.compare()
        return position, b"0"

    listener = await server.join(snapshot=snapshot)
    assert listener.joined is not None
    assert listener.joined.epoch == world.head().epoch
    assert len(states) == 2
    assert [reason for reason, *_ in early.resets] == ["epoch"]


@in_jumping_time
async def test_no_snapshot_is_taken_for_a_position_that_is_recovered() -> None:
    world = World()
    world.write(1)
    server = await world.server()

    async def snapshot() -> tuple[Position, bytes]:
        raise AssertionError("not needed")

    assert told(await server.join(since=0, snapshot=snapshot)) == (1, True)


# ── streams that open and close ──────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_joins_at_the_same_time_open_the_stream_once() -> None:
    server = await World().server()
    await asyncio.gather(*[server.join() for _ in range(50)])
    assert server.threads.calls.count("heads") == 1


@in_jumping_time
async def test_entries_that_arrive_while_a_stream_opens_are_in_the_head_or_emitted() -> None:
    world = World()
    server, other = await world.server(), await world.server()
    server.threads.hold("heads")
    joining = asyncio.ensure_future(server.join())
    await turns()
    publish(other, 1)
    publish(server, 2)
    await turns()
    server.threads.let_go("heads")
    listener = await joining
    publish(server, 3)
    assert told(listener) == (2, None)
    assert listener.offsets == [3]


@in_jumping_time
async def test_a_join_fails_if_the_log_does_not_answer_and_the_next_one_succeeds() -> None:
    world = World()
    server = await world.server()
    server.threads.fail("heads", LogUnavailable("away"))
    results = await asyncio.gather(server.join(), server.join(), return_exceptions=True)
    assert [type(result) for result in results] == [LogUnavailable, LogUnavailable]
    assert not server.backplane.listens_to(TOPIC)
    listener = await server.join()
    publish(server, 1)
    assert listener.offsets == [1]


@in_jumping_time
async def test_a_cancelled_join_does_not_affect_the_others() -> None:
    server = await World().server()
    server.threads.hold("heads")
    given_up, other = asyncio.ensure_future(server.join()), asyncio.ensure_future(server.join())
    await turns()
    given_up.cancel()
    await turns()
    server.threads.let_go("heads")
    listener = await other
    publish(server, 1)
    assert listener.offsets == [1]
    assert len(server.hub._streams[TOPIC].subscriptions) == 1


@in_jumping_time
async def test_a_client_that_disconnected_during_its_join_is_not_subscribed() -> None:
    server = await World().server()
    await server.hub.begin_join(TOPIC, durable=True)
    assert not server.hub._streams[TOPIC].subscriptions


@in_jumping_time
async def test_a_stream_without_subscriptions_is_closed_after_a_while() -> None:
    world = World(timing=Timing(linger=10, compare=2))
    server = await world.server()
    listener = await server.join()
    assert listener.subscription is not None
    server.hub.leave(listener.subscription)
    await asyncio.sleep(9)
    assert server.backplane.listens_to(TOPIC)
    await asyncio.sleep(5)
    assert not server.backplane.listens_to(TOPIC)
    assert not server.hub._streams
    again = await server.join(since=0)
    publish(server, 1)
    assert again.offsets == [1]


@in_jumping_time
async def test_a_stream_is_not_closed_while_a_join_is_being_decided() -> None:
    world = World(timing=Timing(linger=5, compare=2))
    server = await world.server()
    first = await server.join()
    assert first.subscription is not None
    server.hub.leave(first.subscription)
    await asyncio.sleep(4)

    async def slow() -> tuple[Position, bytes]:
        await asyncio.sleep(20)
        return world.head(), b"{}"

    listener = await server.join(snapshot=slow)
    publish(server, 1)
    assert listener.offsets == [1]


@in_jumping_time
async def test_a_stream_that_opens_again_waits_until_it_is_closed() -> None:
    world = World(timing=Timing(linger=1, compare=2))
    server = await world.server()
    listener = await server.join()
    assert listener.subscription is not None
    server.hub.leave(listener.subscription)
    goes = asyncio.Event()
    unsubscribe = server.backplane.unsubscribe

    async def slow(topic: str) -> None:
        await goes.wait()
        await unsubscribe(topic)

    server.backplane.unsubscribe = slow  # type: ignore[method-assign]
    await asyncio.sleep(3)
    joining = asyncio.ensure_future(server.join())
    await turns()
    goes.set()
    listener = await joining
    assert server.backplane.listens_to(TOPIC)


# ── slow outlets ─────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_slow_subscriber_is_served_from_the_log_when_it_is_ready_again() -> None:
    server = await World().server()
    slow, quick = await server.join(Listener(room=2)), await server.join()
    publish(server, *range(1000))
    assert (slow.offsets, len(quick.offsets)) == ([1, 2], 1000)
    server.resume(slow, room=300)
    await turns()
    assert len(slow.offsets) == 402  # pages of 200, and the second one made it full
    server.resume(slow)
    publish(server, "live")
    await turns()
    assert slow.offsets == list(range(1, 1002))


@in_jumping_time
async def test_a_subscriber_that_is_resumed_often_gets_each_event_once() -> None:
    server = await World().server()
    slow = await server.join(Listener(room=1))
    publish(server, *range(600))
    server.hub._streams[TOPIC].recent.clear()
    server.threads.hold("read")
    for _ in range(20):
        server.resume(slow)
        await asyncio.sleep(0)
    server.threads.let_go("read")
    await turns()
    assert slow.offsets == list(range(1, 601))


@in_jumping_time
async def test_a_subscriber_that_fell_behind_the_trimmed_part_gets_a_reset() -> None:
    world = World()
    server = await world.server()
    slow, quick = await server.join(Listener(room=1)), await server.join()
    publish(server, *range(600))
    world.log.trim(TOPIC, count=10)
    server.resume(slow)
    await turns()
    assert slow.resets == [("trimmed", world.head().epoch, 600)]
    publish(server, "live")
    assert slow.offsets == [1, 601]
    assert quick.resets == []


@in_jumping_time
async def test_the_log_may_be_away_for_a_while() -> None:
    world = World()
    server = await world.server()
    slow = await server.join(Listener(room=1))
    publish(server, *range(600))
    server.threads.fail("read", *[LogUnavailable("away")] * 7, ValueError("a bug"))
    server.resume(slow)
    await asyncio.sleep(30)
    assert slow.offsets == list(range(1, 601))


@in_jumping_time
async def test_no_page_is_read_for_subscriptions_that_have_ended() -> None:
    world = World()
    server = await world.server()
    slow = await server.join(Listener(room=1))
    publish(server, *range(600))
    server.threads.fail("read", *[LogUnavailable("away")] * 1000)
    server.resume(slow)
    await asyncio.sleep(1)
    assert slow.subscription is not None
    server.hub.leave(slow.subscription)
    await asyncio.sleep(10)
    before = len(server.threads.calls)
    await asyncio.sleep(1.9)
    assert server.threads.calls[before:].count("read") == 0
    assert slow.offsets == [1]


@in_jumping_time
async def test_a_read_at_the_streams_end_is_not_shared_with_subscriptions_below_it() -> None:
    """The read rightly found nothing. A subscription that fell behind during it must not take the log for lost."""
    world = World()
    server = await world.server()
    slow = await server.join(Listener(room=0))
    slow.ready = False
    server.threads.hold("read")
    server.hub.follower.catch_up(server.hub._streams[TOPIC], 1)
    await turns()
    publish(server, 1)
    server.hub._streams[TOPIC].recent.clear()
    server.resume(slow)
    await turns()
    server.threads.let_go("read")
    await turns()
    assert (slow.resets, slow.offsets) == ([], [1])


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_stopping_cancels_joins_and_reads() -> None:
    world = World()
    server = await world.server()
    slow = await server.join(Listener(room=1))
    publish(server, *range(600))
    for name in ("read", "heads"):
        server.threads.hold(name)
    server.resume(slow)
    joining = asyncio.ensure_future(server.join(topic="rooms/other"))
    await turns()
    await server.hub.stop()
    assert asyncio.all_tasks() - {asyncio.current_task(), joining} == set()
    with pytest.raises((asyncio.CancelledError, LogError)):
        await joining
    slow.room, slow.ready = None, True
    publish(server, "after")
    await turns()
    assert slow.offsets == [1]


@in_jumping_time
async def test_a_server_that_stopped_can_start_again() -> None:
    world = World()
    server = await world.server()
    await server.hub.stop()
    again = Server(world.log, world.exchange, server.threads, world.timing)
    await again.start()
    listener = await again.join()
    publish(again, 1)
    assert listener.offsets == [1]


@in_jumping_time
async def test_a_stopped_server_refuses_joins() -> None:
    world = World()
    server = await world.server()
    await server.hub.stop()
    with pytest.raises(LogUnavailable, match="stopped"):
        await server.join()
