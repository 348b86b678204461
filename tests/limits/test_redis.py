"""Counts across processes, in a real Redis. Each ``RedisCounts`` is one process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack

import pytest

from holdfast.limits import redis as module
from holdfast.limits.base import Rate
from holdfast.limits.redis import RedisCounts
from holdfast.limits.shared import Entered, SharedLimiter
from holdfast.redis.client import RedisStore
from tests.limits.contract import LimiterContract, take
from tests.services.redis import RedisServer

Start = Callable[..., RedisCounts]


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[Start]:
    """Starts a process, in another Redis if one is named."""
    async with AsyncExitStack() as stack:

        def begin(url: str = redis_url, counts: Mapping[str, int] | None = None) -> RedisCounts:
            made = RedisCounts(RedisStore(url), lambda: counts or {})
            stack.push_async_callback(made.stop)
            return made

        yield begin


async def _settled(counts: RedisCounts) -> None:
    """Wait until everything that was asked of Redis has been answered."""
    while counts._task is not None:
        await asyncio.wait([counts._task])


async def test_connections_of_all_processes_add_up(start: Start) -> None:
    one, two = start(), start()
    assert not (await one.enter("user:7", limit=2)).refused
    assert not (await two.enter("user:7", limit=2)).refused
    assert (await one.enter("user:7", limit=2)).over
    assert not (await one.enter("user:8", limit=2)).refused
    two.leave("user:7")
    await _settled(two)
    assert not (await one.enter("user:7", limit=2)).refused


async def test_handshakes_that_come_together_are_counted_one_by_one(start: Start) -> None:
    one, two = start(), start()
    entered = await asyncio.gather(
        *(process.enter("a", limit=5) for process in (one, two) for _ in range(20))
    )
    assert sum(not found.refused for found in entered) == 5


async def test_a_rate_holds_for_all_processes_by_the_time_of_redis(start: Start) -> None:
    one, two = start(), start()
    rate = Rate(count=2, seconds=60.0)
    assert [(await process.enter("a", rate=rate)).refused for process in (one, two)] == [False, False]
    found = await one.enter("a", rate=rate)
    assert not found.over
    assert 29 < found.wait <= 30
    assert not (await one.enter("b", rate=rate)).refused


async def test_what_is_refused_for_its_rate_does_not_count_as_a_connection(start: Start) -> None:
    one = start()
    rate = Rate(count=1, seconds=60.0)
    await one.enter("a", limit=2, rate=rate)
    for _ in range(3):
        assert (await one.enter("a", limit=2, rate=rate)).wait
    assert not (await one.enter("a", limit=2)).refused


async def test_a_killed_process_is_forgotten_after_its_lease(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.3)
    killed, other = start(), start()
    await killed.enter("a", limit=1)
    assert killed._beats is not None
    killed._beats.cancel()
    assert (await other.enter("a", limit=1)).over
    async with asyncio.timeout(10):
        while (await other.enter("a", limit=1)).over:  # noqa: ASYNC110 - it is Redis that the test waits for
            await asyncio.sleep(0.05)


async def test_a_process_that_stops_is_forgotten_at_once(start: Start) -> None:
    one, two = start(), start()
    await one.enter("a", limit=1)
    await one.stop()
    assert not (await two.enter("a", limit=1)).refused


async def test_members_that_redis_has_lost_are_written_again(start: Start, redis_server: RedisServer) -> None:
    one, two = start(counts={"a": 2}), start()
    await one.enter("a", limit=5)
    await one.enter("a", limit=5)
    redis_server.flush()
    await one.enter("b", limit=5)
    assert (await two.enter("a", limit=2)).over


async def test_while_redis_is_away_everything_is_admitted_and_it_is_logged_once(
    start: Start, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.2)
    one, two = start(own_redis.url, {"a": 1}), start(own_redis.url)
    await one.enter("a", limit=1)
    own_redis.stop()
    with caplog.at_level(logging.WARNING, "holdfast.limits"):
        for _ in range(5):
            assert await one.enter("a", limit=1) == Entered()
        [said] = caplog.messages
        assert said.startswith(
            "Redis did not answer, so limits of users and addresses hold in each process only"
        )
        own_redis.start_again()
        async with asyncio.timeout(20):
            while one._away_until is not None:
                await one.enter("b")
                await asyncio.sleep(0.05)
    assert (await two.enter("a", limit=1)).over, "the first process has written again what it has"
    assert len(caplog.messages) == 2


async def test_nothing_is_left_in_redis_when_all_have_left(start: Start, redis_server: RedisServer) -> None:
    one = start()
    await one.enter("a", limit=5, rate=Rate(count=1000, seconds=1.0))
    one.leave("a")
    await _settled(one)
    await one.stop()
    await asyncio.sleep(0.01)  # the bucket is full again after a millisecond
    with redis_server.client() as client:
        assert [key for key in client.keys("*limits*") if b"rate" not in key] == []


@pytest.mark.parametrize(
    "error", [ValueError("an answer of another form"), EOFError("in the middle of an answer")]
)
async def test_an_unexpected_error_keeps_no_handshake_waiting(
    start: Start, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = start()

    async def fails(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(one, "_call", fails)
    async with asyncio.timeout(5):
        assert await asyncio.gather(one.enter("user:7", limit=1), one.enter("user:8")) == [
            Entered(),
            Entered(),
        ]
    assert repr(error) in caplog.text


async def test_a_process_that_stops_while_it_counts_keeps_no_handshake_waiting(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = start()
    asked = asyncio.Event()

    async def never(*arguments: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(one, "_call", never)
    entering = asyncio.create_task(one.enter("user:7"))
    await asked.wait()
    async with asyncio.timeout(5):
        await one.stop()
        assert await entering == Entered()


# ── rates of actions ─────────────────────────────────────────────────────────────────────────────────────────────────


class TestSharedLimiter(LimiterContract):
    @pytest.fixture
    def limiter(self, start: Start) -> SharedLimiter:
        return SharedLimiter(start())

    async def test_all_processes_have_the_rate_together(self, start: Start) -> None:
        one, two = SharedLimiter(start()), SharedLimiter(start())
        waits = [await take(limiter, "ada") for limiter in (one, two, one, two, one, two)]
        assert waits[:5] == [0] * 5
        assert 0 < waits[5] <= 0.2

    async def test_uses_that_come_together_share_the_rate(self, start: Start) -> None:
        limiters = [SharedLimiter(start()) for _ in range(3)]
        waits = await asyncio.gather(*(take(limiter, "ada") for limiter in limiters for _ in range(10)))
        assert waits.count(0) == 5

    async def test_a_key_beyond_the_rate_in_one_process_costs_redis_nothing(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts = start()
        limiter = SharedLimiter(counts)
        once = Rate.parse("1/h")
        assert await take(limiter, "ada", once) == 0
        monkeypatch.setattr(counts, "_call", None)
        assert isinstance(limiter.take("ada", once, 0.0), float)

    async def test_redis_holds_no_user_and_no_address(self, start: Start, redis_server: RedisServer) -> None:
        limiter = SharedLimiter(start())
        await take(limiter, ("user:ada@example.com", RedisCounts, "post"), Rate.parse("5/m"))
        with redis_server.client() as client:
            [name] = client.keys("*rate:use:*")
        assert b"ada" not in name
        assert len(name) < 100

    async def test_uses_count_as_no_connection(self, start: Start) -> None:
        one, two = start(), start()
        await take(SharedLimiter(one), "ada")
        assert not (await two.enter("ada", limit=1)).refused

    async def test_while_redis_is_away_each_process_has_the_rate_and_waits_once(
        self, start: Start, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, two = SharedLimiter(start(own_redis.url)), SharedLimiter(start(own_redis.url))
        assert [await take(limiter, "ada") for limiter in (one, two)] == [0, 0]
        own_redis.freeze()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        waits = [[await take(limiter, "ada") for _ in range(6)] for limiter in (one, two)]
        assert loop.time() - begun < 2 * module.ANSWER_SECONDS + 1
        assert [found.count(0) for found in waits] == [4, 4], "each had one use when Redis was there"
        assert len(caplog.messages) == 2, "each process says so once"
