"""One transaction, or one batch, for many topics, such as each user's own."""

import threading
from collections.abc import Callable

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from holdfast.log.base import Batch
from holdfast.log.database import DatabaseLog
from holdfast.protocol.positions import Position
from tests.log.events import create, drafts, numbers
from tests.log.test_numbering import commit_without_numbering, only_postgres, waiting
from tests.log.transactions import Reports, rolled_back
from tests.services.databases import in_threads

MANY = 2500
FEW = 40
"""Statements; one by one it would be some thousand."""


@pytest.fixture
def names(topic: str) -> list[str]:
    return [f"{topic}/{n}" for n in range(MANY)]


def offsets(log: DatabaseLog, names: list[str]) -> set[int]:
    return {head.offset for head in log.heads(names).values()}


class TestFewStatements:
    def test_a_transaction_is_numbered_in_few(self, log: DatabaseLog, names: list[str]) -> None:
        reports = Reports()
        for number in (1, 2):  # the first creates the topics
            with (
                CaptureQueriesContext(connections[log.alias]) as captured,
                transaction.atomic(using=log.alias),
            ):
                for name in names:
                    log.stage(drafts(name, number), reports)
                published = len(captured)

            assert len(captured) - published <= FEW
            assert offsets(log, names) == {number}
        assert len(reports.offsets) == 2 * MANY
        assert waiting(log) == 0

    def test_a_batch_is_written_in_few(self, log: DatabaseLog, names: list[str]) -> None:
        for number in (1, 2):
            batch = [draft for name in names for draft in drafts(name, number)]
            with CaptureQueriesContext(connections[log.alias]) as captured:
                batches = log.append(batch)

            assert len(captured) <= FEW
            assert sum(len(batch.entries) for batch in batches) == MANY
            assert offsets(log, names) == {number}

    def test_a_batch_in_a_transaction_is_put_aside_in_few(self, log: DatabaseLog, names: list[str]) -> None:
        batch = [draft for name in names for draft in drafts(name, 1)]
        with CaptureQueriesContext(connections[log.alias]) as captured, transaction.atomic(using=log.alias):
            log.stage(batch, Reports())
            assert len(captured) <= FEW

    def test_events_of_a_killed_process_are_swept_in_few_statements(
        self, log: DatabaseLog, names: list[str], grown_old: None
    ) -> None:
        with transaction.atomic(using=log.alias):
            log.stage([draft for name in names for draft in drafts(name, 1)], Reports())
            connections[log.alias].run_on_commit.clear()

        with CaptureQueriesContext(connections[log.alias]) as captured:
            batches = log.sweep()

        assert len(captured) <= FEW
        assert len(batches) == MANY
        assert waiting(log) == 0


def test_the_callback_gets_one_portion_at_a_time(log: DatabaseLog, names: list[str]) -> None:
    """So that memory is bounded, and the first subscribers do not wait for the last topic."""
    reports = Reports()
    with transaction.atomic(using=log.alias):
        log.stage([draft for name in names for draft in drafts(name, 1)], reports)

    portions = [sum(len(batch.entries) for batch in batches) for batches in reports.calls]
    assert sum(portions) == MANY
    assert max(portions) <= 1000


def test_each_topic_keeps_its_order_however_topics_alternate(log: DatabaseLog, topic: str) -> None:
    a, b, c = (f"{topic}/{name}" for name in "abc")
    alternating = [draft for n in range(20) for name in (c, a, b) for draft in drafts(name, n)]
    log.append(alternating)
    with transaction.atomic(using=log.alias):
        log.stage(alternating, Reports())

    for name in (a, b, c):
        assert numbers(log, name) == [*range(20), *range(20)]


def test_every_topic_s_batch_names_the_entry_that_it_follows(log: DatabaseLog, topic: str) -> None:
    a, b = f"{topic}/a", f"{topic}/b"
    (first,) = log.append(drafts(a, 1))
    placed = log.append([*drafts(a, 2), *drafts(b, 1)])
    reports = Reports()
    with transaction.atomic(using=log.alias):
        log.stage([*drafts(a, 3), *drafts(b, 2)], reports)

    assert [batch.before for batch in placed] == [first.entries[0].stamp, 0]
    moved = {batch.topic: batch for batches in reports.calls for batch in batches}
    for batch in placed:
        assert moved[batch.topic].before == batch.entries[-1].stamp != 0
        assert moved[batch.topic].epoch == batch.epoch
        assert moved[batch.topic].entries == tuple(log.read(batch.topic, log_position(batch), 10))


def log_position(batch: Batch) -> Position:
    return Position(epoch=batch.epoch, offset=batch.entries[-1].offset, stamp=batch.entries[-1].stamp)


def test_waiting_entries_of_one_topic_come_first(log: DatabaseLog, topic: str) -> None:
    a, b = f"{topic}/a", f"{topic}/b"
    commit_without_numbering(log, a, 1, 2)

    log.append([*drafts(a, 3), *drafts(b, 1)])

    assert (numbers(log, a), numbers(log, b)) == ([1, 2, 3], [1])


def test_long_backlogs_of_several_topics_are_numbered_whole(
    log: DatabaseLog, topic: str, grown_old: None
) -> None:
    for name in "abc":
        commit_without_numbering(log, f"{topic}/{name}", *range(1300))

    batches = log.sweep()

    assert sum(len(batch.entries) for batch in batches) == 3900
    for name in "abc":
        assert numbers(log, f"{topic}/{name}", page=1000) == list(range(1300))


def test_a_savepoint_that_rolled_back_takes_its_topics_along(log: DatabaseLog, names: list[str]) -> None:
    kept, dropped = names[::2], names[1::2]
    with transaction.atomic(using=log.alias):
        log.stage([draft for name in kept for draft in drafts(name, 1)], Reports())
        with rolled_back(log.alias):
            log.stage([draft for name in dropped for draft in drafts(name, 1)], Reports())

    assert (offsets(log, kept), offsets(log, dropped)) == ({1}, {0})


def test_opposite_orders_of_topics_do_not_deadlock(log: DatabaseLog, names: list[str]) -> None:
    """Not even while they create them, in one statement or in several of one transaction."""

    def append(names: list[str]) -> None:
        log.append([draft for name in names for draft in drafts(name, 1)])

    def stage(names: list[str]) -> None:
        with transaction.atomic(using=log.alias):
            for name in names:
                log.stage(drafts(name, 2), reports)

    reports = Reports()
    there, back = names[:1500], names[1499::-1]
    works: list[Callable[[], None]] = [
        lambda: append(there),
        lambda: append(back),
        lambda: stage(there),
        lambda: stage(back),
    ]
    in_threads(works)
    log.sequence(there)

    assert offsets(log, there) == {4}
    assert waiting(log) == 0


@only_postgres
def test_a_topic_that_is_being_numbered_delays_none_of_the_others(topic: str) -> None:
    log = DatabaseLog("postgres")
    names = [f"{topic}/{n}" for n in range(50)]
    create(log, *names)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(using=log.alias), connections[log.alias].cursor() as cursor:
            cursor.execute("SELECT id FROM holdfast_topic WHERE name = %s FOR UPDATE", (names[7],))
            held.set()
            assert done.wait(20)

    def publish() -> None:
        assert held.wait(20)
        try:
            batches = log.append([draft for name in names for draft in drafts(name, 1)])
            assert {batch.topic for batch in batches} == {*names} - {names[7]}
            with transaction.atomic(using=log.alias):
                log.stage([draft for name in names for draft in drafts(name, 2)], lambda _: None)
            assert waiting(log) == 2
        finally:
            done.set()

    in_threads([hold, publish])

    assert len(log.sequence(names)) == 1
    assert {tuple(numbers(log, name)) for name in names} == {(1, 2)}
