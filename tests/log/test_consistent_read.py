"""What is taken exactly agrees with its position, whoever writes meanwhile."""

import threading

import pytest
from django.contrib.auth.models import Group
from django.db import connections, transaction

from holdfast.log import reading
from holdfast.log.database import DatabaseLog
from tests.log.events import create, drafts, numbers
from tests.log.transactions import Reports
from tests.services.databases import in_threads


def publish(log: DatabaseLog, topic: str, writer: str, count: int) -> None:
    """Each event says that one more group is there: in one transaction with it."""
    for n in range(count):
        with transaction.atomic(using=log.alias):
            Group.objects.using(log.alias).create(name=f"{topic} {writer} {n}")
            log.stage(drafts(topic, n), lambda _: None)


@pytest.mark.parametrize("looks", [5, 0], ids=["looking", "locking"])
def test_the_state_holds_the_effects_of_exactly_the_events_up_to_the_position(
    log: DatabaseLog, topic: str, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOKS", looks)
    create(log, topic)
    writing = threading.Event()
    writing.set()
    left = [3]

    def write(writer: str) -> None:
        try:
            publish(log, topic, writer, 25)
        finally:
            left[0] -= 1
            if not left[0]:
                writing.clear()

    def count() -> tuple[int, int]:
        groups = Group.objects.using(log.alias).filter(name__startswith=topic)
        return groups.count(), len(groups.all())

    def watch() -> int:
        taken = 0
        while writing.is_set():
            position, (first, second) = log.consistent_read(topic, count)
            assert first == second == position.offset
            taken += 1
        return taken

    *_, first, second = in_threads(
        [lambda: write("a"), lambda: write("b"), lambda: write("c"), watch, watch], seconds=50
    )

    assert first
    assert second
    assert log.consistent_read(topic, count)[0].offset == 75
    assert sorted(numbers(log, topic)) == sorted([*range(25)] * 3)


@pytest.fixture
def unnumbered(log: DatabaseLog, topic: str) -> None:
    log.append(drafts(topic, 1))
    with transaction.atomic(using=log.alias):
        log.stage(drafts(topic, 2, 3), lambda _: None)
        connections[log.alias].run_on_commit.clear()


@pytest.mark.parametrize("looks", [5, 0], ids=["looking", "locking"])
def test_entries_that_a_consistent_read_numbers_are_passed_to_the_callback(
    log: DatabaseLog, topic: str, unnumbered: None, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOKS", looks)
    numbered = Reports()

    position, _ = log.consistent_read(topic, lambda: None, numbered)

    assert position.offset == 3
    assert numbered.offsets == [2, 3]


def test_it_can_be_used_inside_a_transaction(log: DatabaseLog, topic: str, unnumbered: None) -> None:
    with transaction.atomic(using=log.alias):
        position, value = log.consistent_read(topic, lambda: "state")

    assert (position.offset, value) == (3, "state")


@pytest.mark.parametrize("looks", [5, 0], ids=["looking", "locking"])
def test_an_error_in_the_function_of_a_consistent_read_is_raised_and_loses_nothing(
    log: DatabaseLog, topic: str, unnumbered: None, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOKS", looks)
    with pytest.raises(ZeroDivisionError):
        log.consistent_read(topic, lambda: 1 // 0)

    assert numbers(log, topic) == [1, 2, 3]
    assert not connections[log.alias].in_atomic_block


@pytest.mark.django_db(transaction=True, databases=["sqlite"])
def test_on_sqlite_writers_need_not_wait_for_it() -> None:
    log = DatabaseLog("sqlite")
    create(log, "rooms/lobby")

    def take() -> int:
        in_threads([lambda: log.append(drafts("rooms/lobby", 1))], seconds=5)
        return 0

    position, _ = log.consistent_read("rooms/lobby", take)

    assert position.offset == 0
    assert numbers(log, "rooms/lobby") == [1]
