"""What differs between databases: how drafts are placed in the log and how waiting ones are moved into it.

The promises of the log rest on these few statements, so each says why it is right.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .base import Batch, Draft, Entry, stamp_of
from .rows import create, insert, now, put_aside
from .tables import CHUNK, ENTRY, OUTBOX, TOPIC


class State(Enum):
    """What a try to number a topic's waiting entries came to."""

    IDLE = "idle"
    """None waits."""

    MOVED = "moved"
    """Some got their offsets; more may wait."""

    BUSY = "busy"
    """Somebody else has the topic's lock, who looks again after giving it back."""

    UNKNOWN = "unknown"
    """The topic has no row yet."""


class Moved(NamedTuple):
    """A try's outcome, and the entries that got offsets; ``before`` is the stamp of the entry that they follow."""

    state: State
    epoch: str = ""
    entries: tuple[Entry, ...] = ()
    before: int = 0

    def batch(self, topic: str) -> Batch:
        return Batch(topic=topic, epoch=self.epoch, entries=self.entries, before=self.before)


class Placed(NamedTuple):
    """Where drafts went: after ``head``, whose stamp is ``before``. They all have the same ``stamp``.

    ``waiting``: may others wait in the outbox by now, who found the lock taken and rely on its holder?
    """

    epoch: str
    head: int
    before: int
    stamp: int
    waiting: bool

    def batch(self, topic: str, drafts: Sequence[Draft]) -> Batch:
        entries = tuple(
            Entry(
                offset=offset,
                name=draft.name,
                payload=draft.payload,
                exclude=draft.exclude,
                stamp=self.stamp,
            )
            for offset, draft in enumerate(drafts, self.head + 1)
        )
        return Batch(topic=topic, epoch=self.epoch, entries=entries, before=self.before)


class Dialect(ABC):
    """One database's way to do it."""

    skips_locked: bool
    """Is a lock that somebody else holds passed by, so that its holder is bound to look again? Else it is waited for."""

    @abstractmethod
    def place(self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft]) -> Placed | None:
        """Write ``drafts`` as the topic's next entries if that can be done at once, else into the outbox.

        Returns ``None`` for the outbox. They go there too when others wait there already: what the same caller wrote
        before must come before.
        """

    @abstractmethod
    def move(self, connection: BaseDatabaseWrapper, topic: str) -> Moved:
        """Try to give the oldest of the waiting entries of ``topic``, ``CHUNK`` at most, their offsets."""

    @abstractmethod
    def frozen(self, connection: BaseDatabaseWrapper) -> contextlib.AbstractContextManager[None]:
        """A transaction in which all statements see the same state; it locks nothing by itself."""

    @abstractmethod
    def conflict(self, error: DatabaseError) -> bool:
        """Did a statement fail because somebody else changed a row after the state that it sees was taken?"""


class SQLite(Dialect):
    """One writer at a time, and others wait for it (``OPTIONS["timeout"]``).

    Every transaction here begins with a statement that writes. One that began by reading could not become a writer
    once somebody else has written: SQLite refuses that at once (https://www.sqlite.org/isolation.html).
    """

    skips_locked = False

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

    def place(self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft]) -> Placed | None:
        count, present = len(drafts), now(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(self._place, (count, topic, topic, count))
            if rows := cursor.fetchall():
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
            put_aside(connection, drafts)
            return None

    def move(self, connection: BaseDatabaseWrapper, topic: str) -> Moved:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(self._drain, (topic,))
            waiting = sorted(cursor.fetchall())
            if not waiting:
                return Moved(State.IDLE)
            advance = (len(waiting), topic, len(waiting))
            cursor.execute(self._advance, advance)
            if not (rows := cursor.fetchall()):
                create(connection, [topic])
                cursor.execute(self._advance, advance)
                rows = cursor.fetchall()
            topic_id, epoch, head, before = rows[0]
            numbered = [
                (offset, name, payload, exclude)
                for offset, (_, name, payload, exclude) in enumerate(waiting, head - len(waiting) + 1)
            ]
            present = now(connection)
            insert(cursor, self._insert, [(topic_id, *row, present) for row in numbered])
        return Moved(State.MOVED, epoch, entries_of(numbered, stamp_of(present)), stamp_of(before))

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
    """Many writers. ``log/functions.py`` has the statements; each call is a transaction and one round trip."""

    skips_locked = True

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

    def move(self, connection: BaseDatabaseWrapper, topic: str) -> Moved:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM holdfast_move(%s)", (topic,))
            rows = cursor.fetchall()
        if not rows:
            return Moved(State.IDLE)
        state, epoch, before, present = rows[0][:4]
        if epoch is None:
            return Moved(State(state))
        entries = entries_of((row[4:] for row in rows), stamp_of(present))
        return Moved(State.MOVED, epoch, entries, stamp_of(before))

    @contextlib.contextmanager
    def frozen(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    def conflict(self, error: DatabaseError) -> bool:
        return getattr(error.__cause__, "sqlstate", None) == "40001"


def entries_of(rows: Iterable[tuple[int, str, str, str]], stamp: int) -> tuple[Entry, ...]:
    """Entries of one batch from what a cursor gave: offset, name, payload and exclude."""
    return tuple(
        Entry(offset=offset, name=name, payload=payload.encode(), exclude=exclude, stamp=stamp)
        for offset, name, payload, exclude in rows
    )


DIALECTS: dict[str, Dialect] = {"sqlite": SQLite(), "postgresql": PostgreSQL()}
"""By Django's ``connection.vendor``."""
