"""Slow clients on topics without a log."""

import json
from typing import Any

import pytest

from holdfast import Slow
from holdfast.log.base import Draft
from holdfast.metrics import Counters
from holdfast.streams.prepared import Burst, Prepared
from holdfast.streams.slow import EVENT_BYTES, Backlog
from tests.support.clock import in_jumping_time, turns
from tests.support.counters import slow_counters
from tests.support.hubs import TOPIC, Listener, Server, World, publish


def tick(server: Server, symbol: str, price: int, name: str = "price") -> None:
    payload = json.dumps({"symbol": symbol, "price": price}).encode()
    server.publisher.publish([Draft(topic=TOPIC, name=name, payload=payload)], durable=False)
    server.hub._streams[TOPIC].flush()


def ticks(listener: Listener) -> list[tuple[str, int]]:
    return [(tick["symbol"], tick["price"]) for tick in map(json.loads, listener.heard)]


async def slow_one(server: Server, slow: Slow | None = None, client: str = "") -> Listener:
    """A listener that is not ready."""
    listener = await server.join(Listener(client), durable=False, slow=slow)
    listener.ready = False
    return listener


def event(number: int, size: int = 0, name: str = "said") -> Prepared:
    return Prepared(TOPIC, name, json.dumps({"n": number, "pad": "x" * size}).encode())


@in_jumping_time
async def test_events_that_fit_wait_and_arrive_in_order_when_the_client_reads_again() -> None:
    server = await World().server()
    slow, quick = await slow_one(server), await server.join(durable=False)
    publish(server, 1, 2, 3, durable=False)
    assert (slow.heard, quick.heard) == ([], ["1", "2", "3"])

    server.resume(slow)
    publish(server, 4, durable=False)

    assert slow.heard == ["1", "2", "3", "4"]
    assert slow.resets == []
    assert slow_counters(server.hub) == Counters()


@in_jumping_time
async def test_each_event_is_counted_once_for_each_subscriber_that_gets_it() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.drop(buffer_bytes=3 * (EVENT_BYTES + 1)))
    await server.join(durable=False)
    publish(server, *range(10), durable=False)
    assert server.hub.counters.events_delivered == 10

    server.resume(slow)

    assert server.hub.counters.events_delivered == 10 + 3


@in_jumping_time
async def test_drop_keeps_the_newest_resets_the_client_and_counts() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.drop(buffer_bytes=3 * (EVENT_BYTES + 1)))
    publish(server, *range(10), durable=False)

    server.resume(slow)

    assert slow.resets == [("interrupted", None, None)]
    assert slow.heard == ["7", "8", "9"]
    assert slow_counters(server.hub) == Counters(events_dropped=7)


@in_jumping_time
async def test_a_loss_causes_one_reset() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.drop(buffer_bytes=EVENT_BYTES + 1))
    publish(server, 1, 2, durable=False)
    server.resume(slow)
    slow.ready = False
    publish(server, 3, durable=False)
    server.resume(slow)

    assert slow.heard == ["2", "3"]
    assert len(slow.resets) == 1


@in_jumping_time
async def test_an_event_that_never_fits_is_dropped() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.drop(buffer_bytes=200))
    publish(server, "x" * 100, durable=False)

    server.resume(slow)

    assert slow.heard == []
    assert slow.resets == [("interrupted", None, None)]


@in_jumping_time
async def test_latest_keeps_one_event_of_each_key_in_the_order_of_publishing() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.conflate("symbol"))
    for price in range(100):
        tick(server, "A", price)
        tick(server, "B", price)
    tick(server, "C", 7)
    tick(server, "A", 100)

    server.resume(slow)

    assert ticks(slow) == [("B", 99), ("C", 7), ("A", 100)]
    assert slow_counters(server.hub) == Counters(events_conflated=199)
    assert slow.resets == [], "nothing is missing that still matters"


@in_jumping_time
async def test_conflated_events_wait_in_the_hub_as_soon_as_the_socket_is_full() -> None:
    server = await World().server()
    slow = await server.join(durable=False, slow=Slow.conflate("symbol"))
    slow.blocked = True
    for price in range(100):
        tick(server, "A", price)
        tick(server, "B", price)
    assert ticks(slow) == []

    slow.blocked = False
    server.resume(slow)
    assert ticks(slow) == [("A", 99), ("B", 99)]
    assert slow_counters(server.hub) == Counters(events_conflated=198)


@in_jumping_time
async def test_only_conflated_events_wait_for_a_full_socket() -> None:
    server = await World().server()
    slow = await server.join(durable=False, slow=Slow.drop())
    slow.blocked = True
    publish(server, 1, 2, durable=False)
    assert slow.heard == ["1", "2"]


@in_jumping_time
async def test_waiting_events_are_written_only_as_far_as_the_socket_takes_them() -> None:
    """The rest can still be replaced."""
    server = await World().server()
    slow = await server.join(durable=False, slow=Slow.conflate("symbol"))
    slow.blocked = True
    for number in range(400):
        tick(server, str(number), 1)
    slow.blocked, writes = False, slow.write

    def fill(burst: Burst) -> None:
        writes(burst)
        slow.blocked = True

    slow.write = fill  # type: ignore[method-assign]
    server.resume(slow)
    written = len(slow.heard)
    assert 0 < written < 200
    assert slow.subscription is not None
    for number in range(400):
        tick(server, str(number), 2)
    while slow.subscription.backlog:
        slow.blocked = False
        server.resume(slow)

    assert ticks(slow) == [(str(n), 1) for n in range(written)] + [(str(n), 2) for n in range(400)]


@in_jumping_time
async def test_latest_does_not_mix_events_of_different_names() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.conflate("symbol"))
    tick(server, "A", 1)
    tick(server, "A", 2, name="volume")
    server.resume(slow)
    assert ticks(slow) == [("A", 1), ("A", 2)]


@in_jumping_time
async def test_latest_without_a_key_keeps_one_event_of_each_name() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.conflate())
    tick(server, "A", 1)
    tick(server, "B", 2)
    server.resume(slow)
    assert ticks(slow) == [("B", 2)]


@in_jumping_time
async def test_an_event_without_a_key_replaces_none() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.conflate("nothing"))
    tick(server, "A", 1)
    tick(server, "A", 2)
    server.resume(slow)
    assert ticks(slow) == [("A", 1), ("A", 2)]


@in_jumping_time
async def test_with_too_many_keys_the_oldest_events_are_dropped() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.conflate("symbol", buffer_bytes=1000))
    for number in range(100):
        tick(server, str(number), number)
    server.resume(slow)

    assert ticks(slow)[-1] == ("99", 99)
    assert 1 < len(slow.heard) < 10
    assert slow_counters(server.hub) == Counters(events_dropped=100 - len(slow.heard))
    assert slow.resets == [("interrupted", None, None)]


@in_jumping_time
async def test_disconnect_closes_only_the_slow_connection() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.disconnect(buffer_bytes=2 * (EVENT_BYTES + 1)))
    quick = await server.join(durable=False)
    publish(server, 1, 2, durable=False)
    assert not slow.overflowed

    publish(server, 3, 4, durable=False)
    server.resume(slow)

    assert slow.overflowed
    assert slow.heard == [], "nothing may follow what is missing"
    assert quick.heard == ["1", "2", "3", "4"]
    assert slow_counters(server.hub) == Counters(connections_overflowed=1)


@in_jumping_time
async def test_an_excluded_client_has_no_waiting_event() -> None:
    server = await World().server()
    slow = await slow_one(server, client="c1")
    publish(server, 1, durable=False)
    publish(server, 2, exclude="c1", durable=False)
    server.resume(slow)
    assert slow.heard == ["1"]


@in_jumping_time
async def test_a_client_that_fills_up_again_gets_the_rest_later() -> None:
    server = await World().server()
    slow = await slow_one(server, Slow.drop(buffer_bytes=1 << 20))
    for letter in "abc":
        publish(server, letter * 50_000, durable=False)

    server.resume(slow, room=1)
    assert len(slow.heard) == 2, "a chunk, after which it was not ready"
    publish(server, "d", durable=False)
    server.resume(slow)

    assert [heard[0] for heard in slow.heard] == ["a", "b", "c", "d"]
    assert slow.subscription is not None
    assert slow.subscription.backlog is None


@in_jumping_time
async def test_a_subscription_that_ends_drops_its_waiting_events() -> None:
    server = await World().server()
    slow = await slow_one(server)
    publish(server, 1, durable=False)
    assert slow.subscription is not None
    server.hub.leave(slow.subscription)
    server.hub.resume(slow.subscription)
    assert slow.subscription.backlog is None
    assert slow.heard == []


@in_jumping_time
async def test_no_events_wait_for_a_client_that_reads() -> None:
    server = await World().server()
    listener = await server.join(durable=False)
    publish(server, 1, durable=False)
    assert listener.subscription is not None
    assert listener.subscription.backlog is None


@in_jumping_time
async def test_an_error_in_writing_waiting_events_ends_the_connection() -> None:
    server = await World().server()
    slow = await slow_one(server)
    publish(server, 1, durable=False)

    def broken(burst: Burst) -> None:
        raise RuntimeError("no such encoding")

    slow.write = broken  # type: ignore[method-assign]
    server.resume(slow)
    assert slow.failed


@in_jumping_time
async def test_on_a_durable_topic_falling_behind_and_missed_ephemeral_events_are_counted() -> None:
    server = await World().server()
    slow = await server.join(Listener(room=1))
    publish(server, 1)
    publish(server, 2)
    publish(server, "typing", durable=False)
    publish(server, "typing", durable=False)
    assert slow_counters(server.hub) == Counters(subscribers_fell_behind=1, events_dropped=2)

    server.resume(slow)
    await turns()
    assert slow.offsets == [1, 2]
    assert slow.heard == ["1", "2"]


@in_jumping_time
async def test_an_ephemeral_event_for_a_slow_client_is_counted() -> None:
    server = await World().server()
    await server.join(Listener(room=1))
    publish(server, 1)
    publish(server, "typing", durable=False)
    assert slow_counters(server.hub) == Counters(subscribers_fell_behind=1, events_dropped=1)


@pytest.mark.parametrize("slow", [Slow.drop(buffer_bytes=5000), Slow.conflate("n", buffer_bytes=5000)])
def test_a_backlog_is_bounded_whatever_comes(slow: Slow) -> None:
    backlog = Backlog(slow, Counters())
    for number in range(2000):
        assert backlog.add(event(number, number % 700))
    waiting = backlog.take(1 << 20).events

    assert sum(len(event.payload) + EVENT_BYTES for event in waiting) <= 5000
    assert [json.loads(event.payload)["n"] for event in waiting] == list(range(2000 - len(waiting), 2000))
    assert backlog._bytes == 0


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "64 KB"])
@pytest.mark.parametrize("make", [Slow.drop, Slow.conflate, Slow.disconnect])
def test_an_invalid_bound_is_refused_by_name(make: Any, wrong: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"^Slow\.{make.__name__}\(buffer_bytes=.*expected a number of bytes"
    ):
        make(buffer_bytes=wrong)


def test_an_invalid_key_is_refused() -> None:
    wrong: Any = 7
    with pytest.raises(TypeError, match=r"Slow\.conflate\(7\): expected names of fields"):
        Slow.conflate(wrong)
