"""The bounds of stored answers, of users and of addresses."""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfast.connections import stored_answers
from holdfast.connections.stored_answers import AnswerLimits, StoredAnswers
from holdfast.log.calls import Answer
from holdfast.log.memory_calls import MemoryCalls
from holdfast.threads.threads import Inline
from tests.support.clock import in_jumping_time

ADA = "user:1"
ADDRESS = "address:192.0.2.1"


def bounds(store: MemoryCalls | None = None, **limits: Any) -> StoredAnswers:
    return StoredAnswers(store or MemoryCalls(), Inline(), AnswerLimits(**limits))


def stored(store: MemoryCalls, owner: str, count: int, *, ago: float = 0.0) -> None:
    for number in range(count):
        store.claim(owner, str(number), "post", seconds=60)
        store.answer(owner, str(number), Answer(payload=b"1"))
        store._attempts[owner, str(number)].made -= timedelta(seconds=ago)


def kept(store: MemoryCalls, owner: str) -> int:
    return sum(key[0] == owner for key in store._attempts)


@in_jumping_time
async def test_a_user_may_store_the_bound_in_a_minute_and_then_waits() -> None:
    answers = bounds(count=100)
    for _ in range(100):
        assert answers.wait(ADA, 0.0) == 0
        answers.add(ADA, 1, 0.0)
    wait = answers.wait(ADA, 0.0)
    assert wait == pytest.approx(60 / 100)
    assert answers.wait(ADA, wait) == 0
    assert answers.wait("user:2", 0.0) == 0


@in_jumping_time
async def test_the_bytes_of_answers_are_bounded_too() -> None:
    answers = bounds(size=100_000)
    answers.add(ADA, 199_800, 0.0)  # its size was not known before
    assert answers.wait(ADA, 0.0) == pytest.approx(60)
    assert answers.wait(ADA, 60.0) == 0


@in_jumping_time
async def test_an_address_waits_for_as_long_as_its_answers_are_kept() -> None:
    answers = bounds(count=10, anonymous_seconds=600)
    for _ in range(10):
        answers.add(ADDRESS, 1, 0.0)
    assert answers.wait(ADDRESS, 0.0) == pytest.approx(60)


@in_jumping_time
async def test_a_user_s_oldest_answers_are_trimmed_while_more_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryCalls()
    answers = bounds(store, count=10)
    stored(store, ADA, 200, ago=stored_answers.KEPT_SECONDS + 1)
    monkeypatch.setattr(random, "random", lambda: 0.5)
    answers.add(ADA, 1, 0.0)
    await asyncio.sleep(0)
    assert kept(store, ADA) == 200  # by chance: for every fifth
    monkeypatch.setattr(random, "random", lambda: 0.19)
    answers.add(ADA, 1, 0.0)
    await asyncio.sleep(0)
    assert kept(store, ADA) == 10


@in_jumping_time
async def test_answers_of_the_last_minute_are_kept_whatever_their_number() -> None:
    store = MemoryCalls()
    answers = bounds(store, count=1)
    stored(store, ADA, 50)
    answers.add(ADA, 1, 0.0)
    await asyncio.sleep(0)
    assert kept(store, ADA) == 50


@in_jumping_time
async def test_answers_are_removed_when_their_time_is_over_without_any_command() -> None:
    store = MemoryCalls()
    answers = bounds(store, seconds=3600, anonymous_seconds=60)
    stored(store, "client:a", 3, ago=61)
    stored(store, "client:new", 3)
    stored(store, ADA, 3, ago=61)
    stored(store, "user:old", 3, ago=3601)
    answers.add(ADDRESS, 1, asyncio.get_running_loop().time())
    await asyncio.sleep(100)
    assert [kept(store, owner) for owner in ("client:a", "client:new", ADA, "user:old")] == [0, 3, 3, 0]


@in_jumping_time
async def test_the_timer_ends_with_the_calls_and_leaves_nothing_behind() -> None:
    answers = bounds(anonymous_seconds=600)
    answers.add(ADA, 1, 0.0)
    answers.add(ADDRESS, 1, 0.0)
    assert answers._sweeping is not None
    await asyncio.sleep(2000)
    assert (answers._sweeping, answers._stored, answers._tasks) == (None, {}, set())


@in_jumping_time
async def test_a_store_that_does_not_answer_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    class Away(MemoryCalls):
        away = True

        def forget(self, before: datetime, *, since: datetime | None = None, owners: str = "") -> int:
            if self.away:
                raise OSError("away")
            return super().forget(before, since=since, owners=owners)

    store = Away()
    answers = bounds(store, anonymous_seconds=60)
    stored(store, "client:a", 3, ago=61)
    answers.add(ADDRESS, 1, 0.0)
    await asyncio.sleep(95)
    assert "the next sweep tries again" in caplog.text
    store.away = False
    await asyncio.sleep(65)
    assert kept(store, "client:a") == 0
