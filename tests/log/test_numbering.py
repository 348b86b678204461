"""Nothing is left without a number, by whomever and whenever it was published."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from holdfast.log.base import Batch, Trimmed
from holdfast.log.database import DatabaseLog
from holdfast.log.dialects import PostgreSQL, SQLite
from holdfast.log.placing import Moved
from holdfast.log.tables import ENTRY, OUTBOX
from holdfast.protocol.positions import Position
from tests.log import child
from tests.log.events import create, drafts, numbers
from tests.log.transactions import Reports, rolled_back
from tests.services.databases import in_threads

only_postgres = pytest.mark.django_db(transaction=True, databases=["postgres"])


def waiting(log: DatabaseLog) -> int:
    with connections[log.alias].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {OUTBOX}")
        count: int = cursor.fetchone()[0]
    return count


def commit_without_numbering(log: DatabaseLog, topic: str, *events: int) -> None:
    """What a process leaves behind that dies right after its commit."""
    with transaction.atomic(using=log.alias):
        log.stage(drafts(topic, *events), lambda _: None)
        connections[log.alias].run_on_commit.clear()


HELD_UP = 7101
"""The advisory lock that :func:`commits_held_up` lets commits wait for."""


@contextlib.contextmanager
def commits_held_up(alias: str) -> Iterator[Callable[[], None]]:
    """Whoever writes into the log stays in its commit, with its locks, until this ends. Yields what waits for the first."""

    def one_waits() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if cursor.fetchone()[0]:
                return
            time.sleep(0.005)
        raise AssertionError("nobody commits")

    with connections[alias].cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({HELD_UP}); RETURN NULL; END $$"
        )
        cursor.execute(
            f"CREATE CONSTRAINT TRIGGER hold_up AFTER INSERT ON {ENTRY} DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION hold_up()"
        )
        cursor.execute("SELECT pg_advisory_lock(%s)", (HELD_UP,))
        try:
            yield one_waits
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (HELD_UP,))
            cursor.execute("DROP FUNCTION hold_up CASCADE")


class TestSweep:
    def test_it_numbers_what_a_killed_process_left(
        self, log: DatabaseLog, topic: str, grown_old: None
    ) -> None:
        log.append(drafts(topic, 1))
        assert child.run(connections[log.alias].settings_dict, "die_after_commit", topic, 2, 3) is None
        assert numbers(log, topic) == [1]
        assert waiting(log) == 2

        (batch,) = log.sweep()

        assert [entry.offset for entry in batch.entries] == [2, 3]
        assert numbers(log, topic) == [1, 2, 3]
        assert waiting(log) == 0

    def test_it_makes_the_row_of_a_topic_that_was_never_numbered(
        self, log: DatabaseLog, topic: str, grown_old: None
    ) -> None:
        commit_without_numbering(log, topic, 1)

        assert len(log.sweep()) == 1
        assert numbers(log, topic) == [1]

    def test_it_leaves_young_entries_to_their_publishers(self, log: DatabaseLog, topic: str) -> None:
        commit_without_numbering(log, topic, 1)

        assert log.sweep() == []

    def test_it_numbers_a_long_backlog(self, log: DatabaseLog, topic: str, grown_old: None) -> None:
        commit_without_numbering(log, topic, *range(2500))

        batches = log.sweep()

        assert [len(batch.entries) for batch in batches] == [1000, 1000, 500]
        assert numbers(log, topic, page=1000) == list(range(2500))

    def test_two_sweeps_at_once_number_each_entry_once(
        self, log: DatabaseLog, topic: str, grown_old: None
    ) -> None:
        for n in range(20):
            commit_without_numbering(log, f"{topic}/{n % 4}", n)

        swept = in_threads([log.sweep] * 4)

        assert sum(len(batch.entries) for batches in swept for batch in batches) == 20
        assert numbers(log, f"{topic}/3") == [3, 7, 11, 15, 19]


def test_waiting_entries_come_before_entries_appended_later(log: DatabaseLog, topic: str) -> None:
    create(log, topic)
    commit_without_numbering(log, topic, 1, 2)

    batches = log.append(drafts(topic, 3))

    assert [entry.payload for batch in batches for entry in batch.entries] == [b"1", b"2", b"3"]
    assert numbers(log, topic) == [1, 2, 3]


def test_processes_and_threads_share_a_topic(log: DatabaseLog, topic: str) -> None:
    database = connections[log.alias].settings_dict
    children = [child.start(database, "publish", topic, 1000 * n, 40) for n in (1, 2)]

    def publish(first: int) -> None:
        for n in range(first, first + 40):
            log.append(drafts(topic, n))

    in_threads([lambda: publish(3000), lambda: publish(4000)])
    for process in children:
        child.finish(process)

    found = numbers(log, topic)
    assert sorted(found) == [n for first in (1000, 2000, 3000, 4000) for n in range(first, first + 40)]
    for first in (1, 2, 3, 4):
        own = [n for n in found if n // 1000 == first]
        assert own == sorted(own)


@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_stricter_isolation_level_is_no_obstacle(topic: str, level: str) -> None:
    log = DatabaseLog("postgres")
    database = connections["postgres"].settings_dict | {
        # The server's default: Django's own option is for transactions, and this is about single statements.
        "OPTIONS": {"options": "-c default_transaction_isolation=" + level.replace(" ", "\\ ")}
    }
    children = [child.start(database, "append", topic, 1000 * n, 60) for n in (1, 2, 3)]

    for process in children:
        child.finish(process)

    found = numbers(log, topic)
    assert [[n for n in found if n // 1000 == first] for first in (1, 2, 3)] == [
        [*range(1000 * first, 1000 * first + 60)] for first in (1, 2, 3)
    ]


def test_a_durable_event_is_not_reported_as_failed(
    log: DatabaseLog, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second look can fail too; whoever appended must not append again."""
    commit_without_numbering(log, topic, 1)

    def fail(*_: object) -> Moved:
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(SQLite, "move", fail)
        patch.setattr(PostgreSQL, "move", fail)
        assert log.append(drafts(topic, 2)) == []

    assert "the next sweep will" in caplog.text
    assert len(log.sequence([topic])) == 1
    assert numbers(log, topic) == [1, 2]


@only_postgres
class TestManyWriters:
    @pytest.fixture
    def log(self) -> DatabaseLog:
        return DatabaseLog("postgres")

    def test_a_numberer_looks_again_after_releasing_the_lock(
        self, log: DatabaseLog, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The one that finds the lock taken leaves; the holder must see what it left."""
        held, published = threading.Event(), threading.Event()
        move: Callable[..., Moved] = PostgreSQL.move

        def slow_move(self: PostgreSQL, connection: Any, topic: str) -> Moved:
            with transaction.atomic(using=connection.alias):
                moved = move(self, connection, topic)
                if threading.current_thread() is holder and moved.entries:
                    held.set()
                    assert published.wait(20)
            return moved

        batches: list[Batch] = []

        def hold() -> None:
            try:
                batches.extend(log.sequence([topic]))
            finally:
                connections.close_all()

        commit_without_numbering(log, topic, 1)
        create(log, topic)
        holder = threading.Thread(target=hold)
        monkeypatch.setattr(PostgreSQL, "move", slow_move)
        holder.start()
        assert held.wait(20)
        assert log.append(drafts(topic, 2)) == [], "somebody else has the lock"
        published.set()
        holder.join(20)

        assert [entry.payload for batch in batches for entry in batch.entries] == [b"1", b"2"]
        assert waiting(log) == 0

    def test_an_appender_looks_again_too(self, log: DatabaseLog, topic: str) -> None:
        """After the commit, that is: what comes while it commits finds the lock taken as well."""
        batches: list[Batch] = []

        def hold() -> None:
            try:
                batches.extend(log.append(drafts(topic, 1)))
            finally:
                connections.close_all()

        create(log, topic)
        with commits_held_up(log.alias) as one_waits:
            holder = threading.Thread(target=hold)
            holder.start()
            one_waits()
            assert log.append(drafts(topic, 2)) == []
        holder.join(20)

        assert [entry.payload for batch in batches for entry in batch.entries] == [b"1", b"2"]
        assert waiting(log) == 0

    def test_an_appender_to_several_topics_looks_again_too(
        self, log: DatabaseLog, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held, published = threading.Event(), threading.Event()
        place_many = PostgreSQL.place_many

        def slow_place(self: PostgreSQL, connection: Any, given: Any) -> Any:
            with transaction.atomic(using=connection.alias):
                placed = place_many(self, connection, given)
                if threading.current_thread() is holder:
                    held.set()
                    assert published.wait(20)
            return placed

        batches: list[Batch] = []

        def hold() -> None:
            try:
                batches.extend(log.append([*drafts(topic, 1), *drafts(f"{topic}/other", 1)]))
            finally:
                connections.close_all()

        create(log, topic, f"{topic}/other")
        holder = threading.Thread(target=hold)
        monkeypatch.setattr(PostgreSQL, "place_many", slow_place)
        holder.start()
        assert held.wait(20)
        assert log.append(drafts(topic, 2)) == []
        published.set()
        holder.join(20)

        assert [e.payload for batch in batches if batch.topic == topic for e in batch.entries] == [b"1", b"2"]
        assert waiting(log) == 0

    def test_a_transaction_that_is_held_open_delays_no_other_event(
        self, log: DatabaseLog, topic: str
    ) -> None:
        opened, others_done = threading.Event(), threading.Event()
        reports = Reports()

        def hold() -> None:
            with transaction.atomic(using=log.alias):
                log.stage(drafts(topic, 100), reports)
                opened.set()
                assert others_done.wait(30)

        def publish() -> None:
            assert opened.wait(30)
            try:
                with connections[log.alias].cursor() as cursor:
                    cursor.execute("SET lock_timeout = '1s'")  # an error if there is anything to wait for
                    cursor.execute("SET statement_timeout = '5s'")
                for n in range(20):
                    assert log.append(drafts(topic, 2 * n)), "numbered at once"
                    with transaction.atomic(using=log.alias):
                        log.stage(drafts(topic, 2 * n + 1), lambda _: None)
                    assert log.heads([topic])[topic].offset == 2 * n + 2
                    assert log.consistent_read(topic, lambda: None)[0].offset == 2 * n + 2
            finally:
                others_done.set()

        in_threads([hold, publish])

        assert numbers(log, topic) == [*range(40), 100]
        assert reports.offsets == [41]

    def test_opposite_orders_of_topics_do_not_deadlock(self, log: DatabaseLog, topic: str) -> None:
        a, b = f"{topic}/a", f"{topic}/b"
        rounds = 40
        meet = threading.Barrier(2)

        def in_a_transaction(first: str, second: str) -> None:
            for n in range(rounds):
                with transaction.atomic(using=log.alias):
                    log.stage(drafts(first, n), lambda _: None)
                    meet.wait(20)  # both have published to one and go for the other
                    log.stage(drafts(second, n), lambda _: None)

        def at_once(first: str, second: str) -> None:
            for n in range(rounds, 2 * rounds):
                meet.wait(20)
                log.append([*drafts(first, n), *drafts(second, n)])

        in_threads([lambda: in_a_transaction(a, b), lambda: in_a_transaction(b, a)])
        in_threads([lambda: at_once(a, b), lambda: at_once(b, a)])

        for name in (a, b):
            assert sorted(numbers(log, name)) == sorted([*range(2 * rounds)] * 2)

    def test_inside_a_transaction_no_topic_is_made_or_locked(self, log: DatabaseLog, topic: str) -> None:
        with transaction.atomic(using=log.alias):
            log.stage(drafts(topic, 1), lambda _: None)
            with connections[log.alias].cursor() as cursor:
                cursor.execute(
                    "SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = pg_backend_pid()"
                    " AND locktype = 'relation' AND relation::regclass::text = ANY(%s)",
                    (["holdfast_topic", "holdfast_entry"],),
                )
                assert cursor.fetchall() == []


def test_a_transaction_that_rolls_back_late_leaves_no_hole(log: DatabaseLog, topic: str) -> None:
    log.append(drafts(topic, 1))
    with rolled_back(log.alias):
        log.stage(drafts(topic, 2, 3), lambda _: None)
    log.append(drafts(topic, 4))

    head = log.heads([topic])[topic]
    assert [entry.offset for entry in log.read(topic, Position(epoch=head.epoch, offset=0), 10)] == [1, 2]
    assert waiting(log) == 0


def test_trimming_beside_readers_and_writers_shows_no_hole(log: DatabaseLog, topic: str) -> None:
    """A reader sees neighbouring entries or is told that they are gone."""
    stop = threading.Event()
    log.append(drafts(topic, 0))

    def write() -> None:
        try:
            for n in range(1, 150):
                log.append(drafts(topic, n))
        finally:
            stop.set()

    def trim() -> int:
        gone = 0
        while not stop.is_set():
            gone += log.trim(topic, before=timezone.now() + timedelta(days=1), count=None)
        return gone

    def read() -> int:
        position = log.heads([topic])[topic].position
        seen = 0
        while not stop.is_set():
            try:
                entries = log.read(topic, position, 10)
            except Trimmed as trimmed:
                if trimmed.head.floor <= position.offset:
                    raise
                position = Position(epoch=position.epoch, offset=trimmed.head.floor)
                continue
            for entry in entries:
                assert entry.offset == position.offset + 1
                position = Position(epoch=position.epoch, offset=entry.offset)
                seen += 1
        return seen

    in_threads([write, trim, read, read])

    assert log.heads([topic])[topic].offset == 150
