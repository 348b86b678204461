"""Turns: the order in which work gets threads, tested without threads."""

import time
from collections import Counter

import pytest

from holdfast.threads import turns
from holdfast.threads.turns import OWN, Kind, Line, Overloaded, Place, Turns, Work


class Named(Work):
    __slots__ = ("dropped_now", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.dropped_now = False

    @property
    def dropped(self) -> bool:
        return self.dropped_now

    def run(self) -> None:
        raise AssertionError("nothing runs here")


def call(owner: str) -> Place:
    return (Kind.CALL, owner)


def decision(owner: str) -> Place:
    return (Kind.DECISION, owner)


class Pool:
    """Turns, and the work that their threads are busy with."""

    def __init__(self, size: int) -> None:
        self.turns = Turns(size)
        self.busy: list[tuple[Line, str]] = []

    def put(self, place: Place, count: int = 1) -> list[Named]:
        made = [Named(f"{place[1]}") for _ in range(count)]
        for work in made:
            self.turns.put(place, work)
            self._start()
        return made

    def _start(self) -> None:
        while (found := self.turns.take()) is not None:
            line, work = found
            assert isinstance(work, Named)
            self.busy.append((line, work.name))

    def end(self, name: str) -> list[str]:
        """End one piece of work, and return what began then."""
        at = next(index for index, (_, busy) in enumerate(self.busy) if busy == name)
        line, _ = self.busy.pop(at)
        begun = len(self.busy)
        self.turns.done(line)
        self._start()
        return [name for _, name in self.busy[begun:]]

    @property
    def threads(self) -> Counter[str]:
        return Counter(name for _, name in self.busy)


def test_one_owner_never_uses_more_threads_than_it_leaves_free() -> None:
    pool = Pool(16)
    pool.put(call("eve"), 100)
    assert pool.threads["eve"] == 6  # of twelve, since four are kept for decisions


def test_a_newcomer_finds_a_free_thread_beside_busy_owners() -> None:
    pool = Pool(16)
    for owner in "abc":
        pool.put(call(owner), 100)
    pool.put(call("new"))
    assert pool.threads["new"] == 1


def test_a_newcomer_is_next_however_many_calls_of_others_wait() -> None:
    pool = Pool(16)
    for owner in "abcdefgh":
        pool.put(call(owner), 100)
    pool.put(call("new"))
    for owner in "efgh":
        assert pool.end("a") == [owner]  # they came before
    assert pool.end("b") == ["new"]


def test_busy_owners_end_up_with_equal_shares_and_a_free_thread() -> None:
    pool = Pool(16)
    for owner in "abc":
        pool.put(call(owner), 100)
    for _ in range(10):
        for owner in "abc":
            pool.end(owner)
    assert pool.threads == {"a": 3, "b": 3, "c": 3}


def test_owners_with_equally_many_threads_take_turns() -> None:
    pool = Pool(2)
    for owner in "abc":
        pool.put(call(owner), 3)
    order = [begun for _ in range(8) for begun in pool.end(pool.busy[0][1])]
    assert order == list("bcabcabc")


def test_an_owner_with_little_work_does_not_wait_for_one_with_much() -> None:
    pool = Pool(2)
    pool.put(call("eve"), 1000)
    pool.put(call("ada"))
    assert pool.end("eve") == ["ada"]


def test_calls_leave_threads_for_decisions_and_decisions_for_calls() -> None:
    for filling, other in ((call, decision), (decision, call)):
        pool = Pool(8)
        for owner in range(50):
            pool.put(filling(str(owner)), 10)
        assert sum(pool.threads.values()) == 6
        pool.put(other("late"), 1)
        assert pool.threads["late"] == 1


def test_the_process_own_work_may_use_threads_that_no_owner_may() -> None:
    pool = Pool(4)
    for owner in range(10):
        pool.put(decision(str(owner)), 10)
    pool.put(OWN)
    assert pool.threads["None"] == 1


def test_a_pool_of_one_thread_serves_all() -> None:
    pool = Pool(1)
    pool.put(call("a"), 2)
    pool.put(decision("b"))
    pool.put(OWN)
    order = [begun for _ in range(3) for begun in pool.end(pool.busy[0][1])]
    assert sorted(order) == ["None", "a", "b"]


def test_dropped_work_does_not_start_and_takes_no_turn() -> None:
    pool = Pool(1)
    pool.put(call("running"))
    for work in pool.put(call("gone"), 5):
        work.dropped_now = True
    pool.put(call("ada"))
    assert pool.end("running") == ["ada"]
    assert pool.end("ada") == []
    pool.put(call("gone"))
    assert pool.threads == {"gone": 1}


def test_work_beyond_the_bounds_is_refused_for_the_owner_and_then_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "WAITING_EACH", 3)
    monkeypatch.setattr(turns, "WAITING_ALL", 5)
    pool = Pool(1)
    pool.put(decision("running"))
    pool.put(decision("a"), 3)
    with pytest.raises(Overloaded, match="of a wait"):
        pool.put(decision("a"))
    pool.put(decision("b"), 2)
    with pytest.raises(Overloaded, match="5 pieces"):
        pool.put(decision("c"))
    pool.put(OWN, 10)  # the process's own work is never refused


def test_nothing_is_kept_of_owners_whose_work_has_ended() -> None:
    pool = Pool(2)
    for owner in range(50):
        pool.put(call(str(owner)), 2)
    while pool.busy:
        pool.end(pool.busy[0][1])
    for group in (pool.turns._calls, pool.turns._decisions):
        assert (group._lines, group.running, group._waiting) == ({}, 0, 0)
        assert not any(group._levels)


def test_work_costs_the_same_however_many_owners_wait() -> None:
    def seconds_each(owners: int) -> float:
        turn = Turns(1)
        for owner in range(owners):
            turn.put(call(str(owner)), Named("w"))
        began = time.process_time()
        for _ in range(owners):
            found = turn.take()
            assert found is not None
            turn.done(found[0])
        return (time.process_time() - began) / owners

    assert min(seconds_each(50_000) for _ in range(3)) < 4 * min(seconds_each(500) for _ in range(9))
