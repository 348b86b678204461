"""Slow.conflate(rate=…): a bounded number of events of each key per second, for all subscribers of a process."""

import asyncio
import json
import random
from itertools import pairwise
from typing import Any

import pytest

from holdfast import Slow
from holdfast.limits.base import Rate
from holdfast.log.base import Draft
from holdfast.metrics import Counters
from holdfast.streams import conflation
from holdfast.streams.prepared import Burst
from tests.support.clock import in_jumping_time
from tests.support.counters import slow_counters
from tests.support.hubs import TOPIC, Listener, Server, World

RATE = Slow.conflate("symbol", rate="10/s")


class Watch(Listener):
    """Notes which events came when, and in how many writes."""

    def __init__(self, client: str = "") -> None:
        super().__init__(client)
        self.came: list[tuple[float, str, int]] = []
        self.writes = 0

    def write(self, burst: Burst) -> None:
        super().write(burst)
        now = asyncio.get_running_loop().time()
        self.writes += 1
        for event in burst.events:
            tick = json.loads(event.payload)
            self.came.append((round(now, 3), tick["symbol"], tick["price"]))


async def watch(server: Server, slow: Slow = RATE, topic: str = TOPIC, client: str = "") -> Watch:
    listener = Watch(client)
    await server.join(listener, topic=topic, durable=False, slow=slow)
    return listener


def tick(server: Server, symbol: str, price: int, topic: str = TOPIC, exclude: str = "") -> None:
    payload = json.dumps({"symbol": symbol, "price": price}).encode()
    draft = Draft(topic=topic, name="price", payload=payload, exclude=exclude)
    server.publisher.publish([draft], durable=False)


def timers(server: Server) -> int:
    return len(server.hub._ticks._timers)


@in_jumping_time
async def test_the_first_event_passes_at_once_and_the_last_one_follows_after_an_interval() -> None:
    server = await World().server()
    member = await watch(server)
    for price in range(5):
        tick(server, "A", price)
    await asyncio.sleep(1)

    assert member.came == [(0, "A", 0), (0.1, "A", 4)]
    assert slow_counters(server.hub) == Counters(events_superseded=3)


@in_jumping_time
async def test_a_steady_feed_comes_exactly_at_its_rate() -> None:
    server = await World().server()
    member = await watch(server)
    for price in range(1000):
        tick(server, "A", price)
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)

    assert len(member.came) == 11
    assert member.came[-1][2] == 999


@in_jumping_time
async def test_a_feed_that_is_slower_than_its_rate_is_not_changed() -> None:
    server = await World().server()
    member = await watch(server)
    for price in range(5):
        tick(server, "A", price)
        await asyncio.sleep(0.25)
    assert member.came == [(n / 4, "A", n) for n in range(5)]


@in_jumping_time
async def test_events_that_wait_for_the_same_time_are_written_together() -> None:
    server = await World().server()
    member = await watch(server)
    for price in range(2):
        for symbol in "DACB":
            tick(server, symbol, price)
        await asyncio.sleep(0)
    tick(server, "A", 2)
    await asyncio.sleep(1)

    assert member.writes == 2
    assert [came[1:] for came in member.came[4:]] == [("D", 1), ("C", 1), ("B", 1), ("A", 2)], (
        "in the order of publishing"
    )


@pytest.mark.parametrize("seed", range(10))
def test_random_feeds_keep_the_rate_the_order_and_the_last_event(seed: int) -> None:
    @in_jumping_time
    async def story() -> None:
        chance = random.Random(seed)
        server = await World().server()
        member, loop = await watch(server), asyncio.get_running_loop()
        published: dict[str, list[float]] = {}
        for _ in range(2000):
            symbol = chance.choice("AAAAABBC")
            times = published.setdefault(symbol, [])
            tick(server, symbol, len(times))
            times.append(loop.time())
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.01, 0.07, 0.3]))
        await asyncio.sleep(1)

        for symbol, times in published.items():
            mine = [(at, price) for at, of, price in member.came if of == symbol]
            prices = [price for _, price in mine]
            assert prices == sorted(set(prices)), f"seed {seed}"
            assert prices[-1] == len(times) - 1, f"seed {seed}"
            assert all(b[0] - a[0] >= 0.097 for a, b in pairwise(mine)), f"seed {seed}"
            for price, at in enumerate(times):
                newer = next(when for when, other in mine if other >= price)
                assert newer - at <= 0.201, f"seed {seed}: {symbol} {price} is late"
        assert timers(server) == 0

    story()


@in_jumping_time
async def test_all_topics_of_one_rate_share_one_timer_which_stops_when_no_event_comes() -> None:
    server = await World().server()
    members = [await watch(server, topic=f"prices/{number}") for number in range(50)]
    await watch(server, Slow.conflate("symbol", rate="2/s"), topic="others")
    assert timers(server) == 0
    for number in range(50):
        tick(server, "A", 1, topic=f"prices/{number}")
        tick(server, "A", 2, topic=f"prices/{number}")
    tick(server, "A", 1, topic="others")
    assert timers(server) == 2

    await asyncio.sleep(2)
    assert {tuple(member.came) for member in members} == {((0, "A", 1), (0.1, "A", 2))}
    assert timers(server) == 0


@in_jumping_time
async def test_an_event_without_the_key_passes_at_once() -> None:
    server = await World().server()
    member = await watch(server, Slow.conflate("market", rate="10/s"))
    for price in range(3):
        tick(server, "A", price)
    await asyncio.sleep(0)
    assert [price for _, _, price in member.came] == [0, 1, 2]


@in_jumping_time
async def test_a_client_that_joins_gets_the_event_that_waits() -> None:
    server = await World().server()
    await watch(server)
    tick(server, "A", 1)
    tick(server, "A", 2)
    late = await watch(server)
    await asyncio.sleep(1)
    assert late.came == [(0.1, "A", 2)]


@in_jumping_time
async def test_an_event_replaces_the_older_one_also_for_a_client_that_it_excludes() -> None:
    server = await World().server()
    mine, other = await watch(server, client="c1"), await watch(server, client="c2")
    tick(server, "A", 1)
    tick(server, "A", 2)
    tick(server, "A", 3, exclude="c1")
    await asyncio.sleep(1)
    assert [price for _, _, price in mine.came] == [1], "it made the newest one itself"
    assert [price for _, _, price in other.came] == [1, 3]


@in_jumping_time
async def test_a_client_that_does_not_read_gets_only_the_newest_event() -> None:
    server = await World().server()
    slow, quick = await watch(server), await watch(server)
    slow.blocked = True
    for price in range(30):
        tick(server, "A", price)
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    slow.blocked = False
    server.resume(slow)

    assert [price for _, _, price in slow.came] == [29]
    assert len(quick.came) == 16


@in_jumping_time
async def test_each_process_applies_the_rate_to_its_own_subscribers() -> None:
    world = World()
    here, there = await world.server(), await world.server()
    members = [await watch(here), await watch(there)]
    for price in range(100):
        tick(here if price % 2 else there, "A", price)
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)

    for member in members:
        assert 10 <= len(member.came) <= 11
        assert member.came[-1][2] == 99


@in_jumping_time
async def test_messages_to_the_group_of_channels_are_limited_too() -> None:
    server = await World().server()
    member = await server.join(durable=False, slow=Slow.conflate(rate="10/s"))
    for number in range(5):
        server.hub._receive_group(TOPIC, {"type": "said", "n": number})
    await asyncio.sleep(1)
    assert member.heard == ["0", "4"]


@in_jumping_time
async def test_with_too_many_keys_no_event_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflation, "MOST_KEYS", 10)
    server = await World().server()
    member = await watch(server)
    for number in range(100):
        tick(server, str(number), 1)
        tick(server, str(number), 2)
    stream = server.hub._streams[TOPIC]
    assert stream._conflation is not None
    assert len(stream._conflation._at) == 10
    await asyncio.sleep(1)

    assert sorted(came[1:] for came in member.came) == sorted((str(n), p) for n in range(100) for p in (1, 2))


@in_jumping_time
async def test_waiting_events_are_bounded_and_further_ones_are_written_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conflation, "HELD_BYTES", 2000)
    server = await World().server()
    member = await watch(server)
    for price in (1, 2):
        for number in range(100):
            tick(server, str(number), price)
    stream = server.hub._streams[TOPIC]
    assert stream._conflation is not None
    assert 0 < stream._conflation._bytes <= 2000
    await asyncio.sleep(1)

    for number in range(100):
        assert [price for _, of, price in member.came if of == str(number)] == [1, 2]
    assert stream._conflation._bytes == 0


@in_jumping_time
async def test_a_hub_that_stops_leaves_no_timer() -> None:
    server = await World().server()
    member = await watch(server)
    tick(server, "A", 1)
    tick(server, "A", 2)
    await asyncio.sleep(0)
    await server.hub.stop()
    assert timers(server) == 0
    await asyncio.sleep(1)
    assert len(member.came) == 1


@in_jumping_time
async def test_one_topic_that_fails_does_not_delay_the_others() -> None:
    server = await World().server()
    await watch(server)
    other = await watch(server, topic="prices/2")
    stream = server.hub._streams[TOPIC]
    assert stream._conflation is not None

    def broken(events: Any) -> None:
        raise RuntimeError

    stream._conflation._emit = broken
    for topic in (TOPIC, "prices/2"):
        tick(server, "A", 1, topic=topic)
        tick(server, "A", 2, topic=topic)
    await asyncio.sleep(1)
    assert [price for _, _, price in other.came] == [1, 2]
    assert timers(server) == 0


@pytest.mark.parametrize("wrong", ["fast", "0/s", "10", 10, ""])
def test_an_invalid_rate_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^Slow\.conflate\(rate=.*is not a rate; write how many per how long"
    ):
        Slow.conflate("symbol", rate=wrong)


@pytest.mark.parametrize("wrong", ["101/s", "1/0.001s", Rate(count=1000, seconds=1)])
def test_a_rate_that_cannot_be_timed_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot be timed; write at most rate='100/s'"):
        Slow.conflate("symbol", rate=wrong)
