"""SQL dialects of the log: placing drafts in it, and moving waiting entries into it.

The promises of the log rest on these few statements, so each explains why it is correct.
"""

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from .base import Batch, Draft, stamp_of
from .placing import ARRAYS, Event, Moved, MoveState, Placed, TopicRow, columns_of, entries_of, event_of
from .routing import refusing_router
from .rows import insert, now
from .tables import CHUNK, ENTRY, OUTBOX, SEED, TOPIC


class Dialect(ABC):
    """The statements of one kind of database."""

    skips_locked: bool
    """Whether a statement skips a topic that another caller has locked, which obliges that caller to look again. Otherwise it waits
    for the lock."""

    fetches_all: bool
    """Whether the result of a statement is fetched as a whole, and not row by row as it is read."""

    @abstractmethod
    def place(self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft]) -> Placed | None:
        """Write ``drafts`` as the topic's next entries if that can be done at once, else into the outbox.

        Returns ``None`` for the outbox. Drafts also go there when other entries wait there already, since the entries that the
        same caller wrote earlier must come first.
        """

    @abstractmethod
    def place_many(
        self, connection: BaseDatabaseWrapper, by_topic: Mapping[str, Sequence[Draft]]
    ) -> dict[str, Placed]:
        """As :meth:`place`, for several topics at once; those that are missing in the result went into the outbox."""

    @abstractmethod
    def stage(self, connection: BaseDatabaseWrapper, drafts: Sequence[Draft]) -> None:
        """Write ``drafts`` into the outbox, in their order."""

    @abstractmethod
    def move(self, connection: BaseDatabaseWrapper, topic: str) -> Moved:
        """Try to give the oldest of the waiting entries of ``topic``, ``CHUNK`` at most, their offsets."""

    @abstractmethod
    def move_many(self, connection: BaseDatabaseWrapper, topics: Sequence[str]) -> list[Batch]:
        """As :meth:`move`, for several topics: ``CHUNK`` entries at most in all, and one batch for each topic.

        If it returns fewer entries than ``CHUNK``, no more wait in any topic of which it had the lock.
        """

    @abstractmethod
    def frozen(self, connection: BaseDatabaseWrapper) -> contextlib.AbstractContextManager[None]:
        """A transaction in which all statements see the same state; it locks nothing by itself."""

    @abstractmethod
    def conflict(self, error: DatabaseError) -> bool:
        """Return whether a statement failed because another transaction changed a row after this one took its snapshot."""


class SQLite(Dialect):
    """SQLite: one writer at a time, and others wait for it (``OPTIONS["timeout"]``).

    Every transaction here begins with a statement that writes. One that began by reading could not become a writer
    once another connection has written: SQLite refuses that at once (https://www.sqlite.org/isolation.html).
    """

    skips_locked = False
    fetches_all = False

    _before = f'(SELECT created_at FROM {ENTRY} WHERE topic_id = {TOPIC}.id AND "offset" = {TOPIC}.head - %s)'
    _place = (
        f"UPDATE {TOPIC} SET head = head + %s WHERE name = %s"
        f" AND NOT EXISTS (SELECT 1 FROM {OUTBOX} WHERE topic = %s) RETURNING id, epoch, head, {_before}"
    )
    _insert = f'INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at) VALUES'
    _drain = (
        f"DELETE FROM {OUTBOX} WHERE id IN (SELECT id FROM {OUTBOX} WHERE topic = %s ORDER BY id LIMIT {CHUNK})"
        " RETURNING id, name, payload, exclude"
    )
    _advance = f"UPDATE {TOPIC} SET head = head + %s WHERE name = %s RETURNING id, epoch, head, {_before}"
    _drain_many = (
        f"DELETE FROM {OUTBOX} WHERE id IN (SELECT id FROM {OUTBOX}"
        f" WHERE topic IN (SELECT value FROM json_each(%s)) ORDER BY topic, id LIMIT {CHUNK})"
        " RETURNING id, topic, name, payload, exclude"
    )
    # In SQL, because a transaction must not begin by reading the seed. SHA256 is among the functions that Django adds to SQLite.
    # Without a seed no process has computed an epoch: any will do.
    _create = (
        f"INSERT INTO {TOPIC} (name, epoch, head, created_at) VALUES (%s, coalesce("
        f"(SELECT substr(SHA256(seed || ':' || %s), 1, 8) FROM {SEED} WHERE id = 1), lower(hex(randomblob(4)))), 0, %s)"
        " ON CONFLICT (name) DO NOTHING"
    )
    _select = (
        "SELECT name, id, epoch, head,"
        f' (SELECT created_at FROM {ENTRY} WHERE topic_id = t.id AND "offset" = t.head),'
        f" EXISTS (SELECT 1 FROM {OUTBOX} o WHERE o.topic = t.name)"
        f" FROM {TOPIC} t WHERE name IN (SELECT value FROM json_each(%s))"
    )

    def place(self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft]) -> Placed | None:
        count, present = len(drafts), now(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(self._place, (count, topic, topic, count))
            rows = cursor.fetchall()
            if not rows:  # other entries wait, or these are the topic's first
                cursor.execute(self._create, (topic, topic, present))
                if cursor.rowcount == 1:
                    cursor.execute(self._place, (count, topic, topic, count))
                    rows = cursor.fetchall()
            if rows:
                topic_id, epoch, head, before = rows[0]
                head -= count
                insert(
                    cursor,
                    self._insert,
                    [
                        (topic_id, offset, draft.name, draft.payload.decode(), draft.exclude, present)
                        for offset, draft in enumerate(drafts, head + 1)
                    ],
                )
                return Placed(epoch, head, stamp_of(before), stamp_of(present), waiting=False)
            self.stage(connection, drafts)
            return None

    def place_many(
        self, connection: BaseDatabaseWrapper, by_topic: Mapping[str, Sequence[Draft]]
    ) -> dict[str, Placed]:
        present = now(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            found = self._rows_of(cursor, by_topic, present)
            placed = {
                topic: Placed(row.epoch, row.head, stamp_of(row.before), stamp_of(present), waiting=False)
                for topic, row in found.items()
                if not row.waiting
            }
            self._write(
                cursor,
                {found[topic]: [event_of(draft) for draft in by_topic[topic]] for topic in placed},
                present,
            )
            others = [draft for topic, drafts in by_topic.items() if topic not in placed for draft in drafts]
            if others:
                self.stage(connection, others)
        return placed

    def stage(self, connection: BaseDatabaseWrapper, drafts: Sequence[Draft]) -> None:
        present = now(connection)
        with connection.cursor() as cursor:
            insert(
                cursor,
                f"INSERT INTO {OUTBOX} (topic, name, payload, exclude, created_at) VALUES",
                [(draft.topic, *event_of(draft), present) for draft in drafts],
            )

    def move(self, connection: BaseDatabaseWrapper, topic: str) -> Moved:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(self._drain, (topic,))
            waiting = sorted(cursor.fetchall())
            if not waiting:
                return Moved(MoveState.IDLE)
            advance = (len(waiting), topic, len(waiting))
            cursor.execute(self._advance, advance)
            if not (rows := cursor.fetchall()):
                cursor.execute(self._create, (topic, topic, now(connection)))
                cursor.execute(self._advance, advance)
                rows = cursor.fetchall()
            topic_id, epoch, head, before = rows[0]
            numbered = [
                (offset, name, payload, exclude)
                for offset, (_, name, payload, exclude) in enumerate(waiting, head - len(waiting) + 1)
            ]
            present = now(connection)
            insert(cursor, self._insert, [(topic_id, *row, present) for row in numbered])
        return Moved(MoveState.MOVED, epoch, entries_of(numbered, stamp_of(present)), stamp_of(before))

    def move_many(self, connection: BaseDatabaseWrapper, topics: Sequence[str]) -> list[Batch]:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(self._drain_many, (json.dumps(topics),))
            waiting: dict[str, list[Event]] = {}
            for _, topic, *event in sorted(cursor.fetchall()):
                waiting.setdefault(topic, []).append(tuple(event))
            if not waiting:
                return []
            present = now(connection)
            found = self._rows_of(cursor, waiting, present)
            self._write(cursor, {found[topic]: events for topic, events in waiting.items()}, present)
        return [
            Batch(
                topic=topic,
                epoch=found[topic].epoch,
                before=stamp_of(found[topic].before),
                entries=entries_of(
                    ((offset, *event) for offset, event in enumerate(waiting[topic], found[topic].head + 1)),
                    stamp_of(present),
                ),
            )
            for topic in sorted(waiting)
        ]

    def _rows_of(self, cursor: CursorWrapper, topics: Iterable[str], present: Any) -> dict[str, TopicRow]:
        """The rows of ``topics``, created where there are none. Takes the lock if the transaction does not have it yet."""
        names = sorted(topics)
        cursor.executemany(self._create, [(name, name, present) for name in names])
        cursor.execute(self._select, (json.dumps(names),))
        return {row[0]: TopicRow(*row) for row in cursor.fetchall()}

    def _write(self, cursor: CursorWrapper, events: Mapping[TopicRow, Sequence[Event]], present: Any) -> None:
        cursor.executemany(
            f"{self._insert} (%s, %s, %s, %s, %s, %s)",
            [
                (row.id, offset, *event, present)
                for row, own in events.items()
                for offset, event in enumerate(own, row.head + 1)
            ],
        )
        cursor.executemany(
            f"UPDATE {TOPIC} SET head = %s WHERE id = %s",
            [(row.head + len(own), row.id) for row, own in events.items()],
        )

    @contextlib.contextmanager
    def frozen(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        # The first SELECT takes the state. With transaction_mode IMMEDIATE the transaction would lock out writers.
        atomic = transaction.atomic(using=connection.alias)
        mode = getattr(connection, "transaction_mode", None)
        connection.transaction_mode = None  # type: ignore[attr-defined]
        try:
            atomic.__enter__()
        finally:
            connection.transaction_mode = mode  # type: ignore[attr-defined]
        with contextlib.ExitStack() as stack:
            stack.push(atomic)
            yield

    def conflict(self, error: DatabaseError) -> bool:
        return False


class PostgreSQL(Dialect):
    """PostgreSQL: many writers. ``log/postgresql_functions.py`` has the statements; each call is a transaction and one round trip."""

    skips_locked = True
    fetches_all = True

    def place(self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft]) -> Placed | None:
        if len(drafts) == 1:  # the ordinary case, and psycopg takes a while for a list
            draft = drafts[0]
            arrays = "ARRAY[%s], ARRAY[%s], ARRAY[%s]"
            parameters: tuple[Any, ...] = (topic, draft.name, draft.payload.decode(), draft.exclude)
        else:
            arrays = "%s::text[], %s::text[], %s::text[]"
            parameters = (
                topic,
                [draft.name for draft in drafts],
                [draft.payload.decode() for draft in drafts],
                [draft.exclude for draft in drafts],
            )
        if connection.in_atomic_block or not connection.get_autocommit():
            statement = f"SELECT *, true FROM holdfast_place(%s, {arrays})"  # the lock is held until the caller commits
        else:
            statement = f"CALL holdfast_append(%s, {arrays}, NULL, NULL, NULL, NULL, NULL)"
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            row = cursor.fetchone()
        if row is None or row[0] is None:
            return None
        epoch, head, before, present, waiting = row
        return Placed(epoch, head, stamp_of(before), stamp_of(present), waiting)

    def place_many(
        self, connection: BaseDatabaseWrapper, by_topic: Mapping[str, Sequence[Draft]]
    ) -> dict[str, Placed]:
        drafts = [draft for own in by_topic.values() for draft in own]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM holdfast_place_many({ARRAYS})", columns_of(drafts))
            return {
                topic: Placed(epoch, head, stamp_of(before), stamp_of(present), waiting=True)
                for topic, epoch, head, before, present in cursor.fetchall()
            }

    def stage(self, connection: BaseDatabaseWrapper, drafts: Sequence[Draft]) -> None:
        insert_into = f"INSERT INTO {OUTBOX} (topic, name, payload, exclude, created_at)"
        present = now(connection)
        with connection.cursor() as cursor:
            if len(drafts) == 1:  # the ordinary case, and psycopg takes a while for a list
                draft = drafts[0]
                cursor.execute(
                    f"{insert_into} VALUES (%s, %s, %s, %s, %s)", (draft.topic, *event_of(draft), present)
                )
                return
            for start in range(0, len(drafts), CHUNK):
                cursor.execute(
                    f"{insert_into} SELECT topic, event, payload, exclude, %s FROM unnest({ARRAYS})"
                    " WITH ORDINALITY AS draft (topic, event, payload, exclude, place) ORDER BY place",
                    (present, *columns_of(drafts[start : start + CHUNK])),
                )

    def move_many(self, connection: BaseDatabaseWrapper, topics: Sequence[str]) -> list[Batch]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM holdfast_move_many(%s::text[])", (list(topics),))
            rows = cursor.fetchall()
        return [
            Batch(
                topic=topic,
                epoch=epoch,
                before=stamp_of(before),
                entries=entries_of((row[4:] for row in own), stamp_of(present)),
            )
            for (topic, epoch, before, present), own in groupby(rows, key=lambda row: row[:4])
        ]

    def move(self, connection: BaseDatabaseWrapper, topic: str) -> Moved:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM holdfast_move(%s)", (topic,))
            rows = cursor.fetchall()
        if not rows:
            return Moved(MoveState.IDLE)
        state, epoch, before, present = rows[0][:4]
        if epoch is None:
            return Moved(MoveState(state))
        entries = entries_of((row[4:] for row in rows), stamp_of(present))
        return Moved(MoveState.MOVED, epoch, entries, stamp_of(before))

    @contextlib.contextmanager
    def frozen(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    def conflict(self, error: DatabaseError) -> bool:
        return getattr(error.__cause__, "sqlstate", None) == "40001"


DIALECTS: dict[str, Dialect] = {"sqlite": SQLite(), "postgresql": PostgreSQL()}
"""By Django's ``connection.vendor``."""


def keeps_tables(alias: str) -> bool:
    """Return whether the tables of ``holdfast.models`` can be in this database, and the project lets ``migrate`` create them."""
    settings = connections.settings.get(alias)
    if settings is None or not settings.get("AUTOCOMMIT", True):
        return False
    return connections[alias].vendor in DIALECTS and refusing_router(alias) is None


def dialect_of(alias: str) -> Dialect:
    vendor = connections[alias].vendor
    if vendor not in DIALECTS:
        raise ImproperlyConfigured(
            f"Holdfast's log cannot be kept in the database {alias!r}: it is {vendor}, and SQLite or PostgreSQL is needed. Name"
            ' one as HOLDFAST["DATABASE"], or keep the log in Redis ("LOG": "redis"); `python manage.py check` says more.'
        )
    return DIALECTS[vendor]
