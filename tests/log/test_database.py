"""The log in Django's database: its promises beyond the contract."""

import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, OperationalError, connections, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from holdfast.log import dialects
from holdfast.log.base import Draft, LogUnavailable
from holdfast.log.database import DatabaseLog
from holdfast.log.rows import replace_epoch
from holdfast.protocol.positions import Position
from tests.log import child
from tests.log.contract import LogContract
from tests.log.events import create, drafts, numbers
from tests.log.transactions import Reports
from tests.services.postgres import PostgresServer


class TestDatabaseLog(LogContract):
    """The contract, on SQLite and on PostgreSQL."""

    def test_it_needs_threads_and_is_shared(self, log: DatabaseLog) -> None:
        assert log.blocking
        assert log.shared

    def test_of_several_callers_that_know_an_epoch_one_replaces_it(
        self, log: DatabaseLog, topic: str
    ) -> None:
        """A server that noticed that the log went back may come second."""
        epoch = log.heads([topic])[topic].epoch
        replace_epoch(connections[log.alias], topic, epoch)
        replaced = log.heads([topic])[topic].epoch
        replace_epoch(connections[log.alias], topic, epoch)

        assert log.heads([topic])[topic].epoch == replaced != epoch

    def test_it_writes_few_statements(self, log: DatabaseLog, topic: str) -> None:
        log.append(drafts(topic, 0))
        connection = connections[log.alias]

        with CaptureQueriesContext(connection) as appending:
            log.append(drafts(topic, 1))
        with CaptureQueriesContext(connection) as enlisting, transaction.atomic(using=log.alias):
            log.stage(drafts(topic, *range(100)), lambda _: None)
        with CaptureQueriesContext(connection) as reading:
            log.read(topic, log.heads([topic])[topic].position, 10)

        # BEGIN, UPDATE, INSERT, COMMIT; on PostgreSQL one procedure, which looks again after its commit.
        assert len(appending) == {"sqlite": 4, "postgres": 1}[log.alias]
        # BEGIN, INSERT, COMMIT; then BEGIN, DELETE, UPDATE, INSERT, COMMIT, or the move and the second look.
        assert len(enlisting) == {"sqlite": 8, "postgres": 5}[log.alias]
        assert len(reading) == 2

    def test_the_database_sends_no_more_rows_than_a_page_of_few_bytes_has(
        self, log: DatabaseLog, topic: str
    ) -> None:
        log.append([Draft(topic=topic, name="said", payload=b'"%s"' % (b"x" * 1000))] * 100)
        counts = []

        def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            counts.append(context["cursor"].cursor.rowcount)
            return result

        position = Position(epoch=log.heads([topic])[topic].epoch, offset=0)
        with connections[log.alias].execute_wrapper(count):
            assert len(log.read(topic, position, 100, 2500)) == 3
        assert counts == {"sqlite": [-1], "postgres": [3]}[log.alias]  # SQLite finds row after row

    def test_a_batch_over_several_topics_is_written_whole_or_not_at_all(
        self, log: DatabaseLog, topic: str
    ) -> None:
        a, b = f"{topic}/a", f"{topic}/b"
        no_text = Draft(topic=b, name="number.said", payload=b"\xff")
        create(log, a, b)

        with pytest.raises(UnicodeDecodeError):
            log.append([*drafts(a, 1), no_text])

        assert numbers(log, a) == []

    def test_a_sweep_of_nothing_is_one_statement(self, log: DatabaseLog) -> None:
        with CaptureQueriesContext(connections[log.alias]) as sweeping:
            log.sweep()

        assert len(sweeping) == 1

    def test_an_application_that_failed_to_write_loses_its_events_too(
        self, log: DatabaseLog, topic: str
    ) -> None:
        reports = Reports()
        with pytest.raises(DatabaseError), transaction.atomic(using=log.alias):  # noqa: PT012
            log.stage(drafts(topic, 1), reports)
            with connections[log.alias].cursor() as cursor:
                cursor.execute("SELECT * FROM there_is_no_such_table")

        assert numbers(log, topic) == []
        assert reports.calls == []


class TestInsideTestCase(TestCase):
    """Use of the log in a project's tests, each of which runs in a transaction that is rolled back."""

    databases = {"sqlite", "postgres"}

    def test_everything_works_inside_a_transaction(self) -> None:
        for alias in self.databases:
            log = DatabaseLog(alias)
            log.append(drafts("rooms/lobby", 1))
            with self.captureOnCommitCallbacks(using=alias, execute=True), transaction.atomic(using=alias):
                log.stage(drafts("rooms/lobby", 2, 3), lambda _: None)
            log.append([*drafts("rooms/lobby", 4), *drafts("rooms/attic", 5)])
            assert numbers(log, "rooms/lobby") == [1, 2, 3, 4]
            assert log.consistent_read("rooms/lobby", lambda: 1)[0].offset == 4
            assert log.trim("rooms/lobby", count=1) == 3
            assert log.calls.claim("ada", "1", "post", seconds=60).mine
            assert log.calls.claim("ada", "1", "post", seconds=60).running


def as_django(dsn: str) -> dict[str, str]:
    """An entry of ``DATABASES`` for a libpq URL."""
    url = urlsplit(dsn)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.removeprefix("/"),
        "USER": str(url.username),
        "HOST": str(url.hostname),
        "PORT": str(url.port),
    }


def test_it_works_without_migrations_as_some_run_their_tests(postgres_dsn: str) -> None:
    assert child.run(as_django(postgres_dsn), "append_without_migrations", "rooms/lobby") == 1


class TestErrors:
    def test_a_missing_migration_is_named_with_the_way_out(self, tmp_path: Path, postgres_dsn: str) -> None:
        server, _, name = postgres_dsn.rpartition("/")
        user, _, address = server.removeprefix("postgresql://").partition("@")
        host, _, port = address.partition(":")
        for database in (
            {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")},
            {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": user,
                "HOST": host,
                "PORT": port,
            },
        ):
            for said in child.run(database, "use_without_tables"):
                assert said.startswith("NotMigrated: "), said
                assert "`python manage.py migrate holdfast`" in said

    def test_another_database_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dialects, "DIALECTS", {})
        with pytest.raises(ImproperlyConfigured, match="sqlite, and SQLite or PostgreSQL"):
            DatabaseLog("sqlite")

    @pytest.mark.django_db(transaction=True, databases=["postgres"])
    def test_a_lost_connection_is_said_and_made_again(
        self, postgres_server: PostgresServer, topic: str
    ) -> None:
        log = DatabaseLog("postgres")
        log.append(drafts(topic, 1))
        postgres_server.disconnect_everyone()

        with pytest.raises(LogUnavailable) as caught:
            log.append(drafts(topic, 2))

        assert isinstance(caught.value.__cause__, OperationalError)
        log.append(drafts(topic, 3))
        assert numbers(log, topic) == [1, 3]

    @pytest.mark.django_db(transaction=True, databases=["postgres"])
    def test_a_server_that_takes_no_writes_any_more_is_left(self, topic: str) -> None:
        """After a failover the old primary still answers; a new connection may lead to the new one."""
        log = DatabaseLog("postgres")
        create(log, topic)
        with connections["postgres"].cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        with pytest.raises(LogUnavailable, match="read-only"):
            log.append(drafts(topic, 1))

        assert len(log.append(drafts(topic, 1))) == 1

    @pytest.mark.django_db(transaction=True, databases=["sqlite"])
    def test_a_database_that_stays_locked_is_unavailable(self, topic: str) -> None:
        log = DatabaseLog("sqlite")
        create(log, topic)
        with connections["sqlite"].cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 1")
        locked, tried = threading.Event(), threading.Event()

        def lock() -> None:
            try:
                with transaction.atomic(using="sqlite"):
                    log.stage(drafts(topic, 1), lambda _: None)
                    locked.set()
                    tried.wait(20)
            finally:
                connections.close_all()

        holder = threading.Thread(target=lock)
        holder.start()
        try:
            assert locked.wait(20)
            with pytest.raises(LogUnavailable, match="locked"):
                log.append(drafts(topic, 2))
        finally:
            tried.set()
            holder.join(20)
            connections["sqlite"].close()
        assert numbers(log, topic) == [1]

    @pytest.mark.django_db(transaction=True, databases=["postgres"])
    def test_inside_a_transaction_django_s_error_passes(
        self, postgres_server: PostgresServer, topic: str
    ) -> None:
        log = DatabaseLog("postgres")
        with pytest.raises(OperationalError), transaction.atomic(using="postgres"):  # noqa: PT012
            log.stage(drafts(topic, 1), lambda _: None)
            postgres_server.disconnect_everyone()
            log.stage(drafts(topic, 2), lambda _: None)

        assert numbers(log, topic) == []
