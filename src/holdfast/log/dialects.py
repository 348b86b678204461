"""What differs between databases: how drafts are placed in the log and how waiting ones are moved into it.

The promises of the log rest on these few statements, so each says why it is right.
"""

import contextlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from .base import Draft, Entry
from .tables import ENTRY, OUTBOX, TOPIC

CHUNK = 1000
"""Entries that are moved, or trimmed, in one transaction at most: its lock is held no longer than that takes."""

ROWS = 150
"""Rows in one INSERT: SQLite takes 999 parameters in a statement, at least."""


class Moved(NamedTuple):
    """What a try to number a topic's waiting entries came to."""

    known: bool
    """Is there a row for the topic?"""

    locked: bool
    """Did we get its lock? If not, somebody else has it, who looks again after giving it back."""

    epoch: str = ""
    head: int = 0
    """The last offset given out before this move."""

    entries: tuple[Entry, ...] = ()


class Dialect(ABC):
    """One database's way to do it."""

    skips_locked: bool
    """Is a lock that somebody else holds passed by (and the holder bound to look again)? Else it is waited for."""

    @abstractmethod
    def place(
        self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft], now: Any
    ) -> tuple[str, int] | None:
        """Write ``drafts`` as the topic's next entries if that can be done at once, else into the outbox.

        Returns the epoch and the head before them, or ``None`` for the outbox. They go there too when others wait there
        already: what the same caller wrote before must come before.
        """

    @abstractmethod
    def move(self, connection: BaseDatabaseWrapper, topic: str, now: Any) -> Moved:
        """Try to give waiting entries of ``topic``, oldest first and ``CHUNK`` at most, their offsets."""

    @abstractmethod
    def frozen(self, connection: BaseDatabaseWrapper) -> contextlib.AbstractContextManager[None]:
        """A transaction in which all statements see the same state; it locks nothing by itself."""

    @abstractmethod
    def conflict(self, error: DatabaseError) -> bool:
        """Did a frozen transaction fail because somebody else changed a row after its state was taken?"""


class SQLite(Dialect):
    """One writer at a time, and others wait for it (``OPTIONS["timeout"]``).

    Every transaction here begins with a statement that writes. One that began by reading could not become a writer
    once somebody else has written: SQLite refuses that at once (https://www.sqlite.org/isolation.html).
    """

    skips_locked = False

    _place = (
        f"UPDATE {TOPIC} SET head = head + %s WHERE name = %s"
        f" AND NOT EXISTS (SELECT 1 FROM {OUTBOX} WHERE topic = %s) RETURNING id, epoch, head"
    )
    _insert = f'INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at) VALUES'
    _drain = (
        f"DELETE FROM {OUTBOX} WHERE id IN (SELECT id FROM {OUTBOX} WHERE topic = %s ORDER BY id LIMIT {CHUNK})"
        " RETURNING id, name, payload, exclude"
    )
    _advance = f"UPDATE {TOPIC} SET head = head + %s WHERE name = %s RETURNING id, epoch, head"

    def place(
        self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft], now: Any
    ) -> tuple[str, int] | None:
        count = len(drafts)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(self._place, (count, topic, topic))
            if rows := cursor.fetchall():
                topic_id, epoch, head = rows[0]
                head -= count
                insert(
                    cursor,
                    self._insert,
                    [
                        (topic_id, offset, draft.name, draft.payload.decode(), draft.exclude, now)
                        for offset, draft in enumerate(drafts, head + 1)
                    ],
                )
                return epoch, head
            put_aside(cursor, drafts, now)
            return None

    def move(self, connection: BaseDatabaseWrapper, topic: str, now: Any) -> Moved:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(self._drain, (topic,))
            waiting = sorted(cursor.fetchall())
            cursor.execute(self._advance, (len(waiting), topic))
            if not (rows := cursor.fetchall()):
                create(cursor, [topic], now)
                cursor.execute(self._advance, (len(waiting), topic))
                rows = cursor.fetchall()
            topic_id, epoch, head = rows[0]
            head -= len(waiting)
            if waiting:
                insert(
                    cursor,
                    self._insert,
                    [
                        (topic_id, offset, name, payload, exclude, now)
                        for offset, (_, name, payload, exclude) in enumerate(waiting, head + 1)
                    ],
                )
        entries = tuple(
            Entry(offset=offset, name=name, payload=payload.encode(), exclude=exclude)
            for offset, (_, name, payload, exclude) in enumerate(waiting, head + 1)
        )
        return Moved(known=True, locked=True, epoch=epoch, head=head, entries=entries)

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
    """Many writers. A topic's row is its lock; who does not get it passes by (``SKIP LOCKED``), so nobody waits.

    Each of ``place`` and ``move`` is a single statement, which outside a transaction is a transaction and one round trip.
    It sees the rows that were committed when it began (READ COMMITTED), and the topic's row as it is when it is locked.
    What was committed in between is not seen by it. That is right nevertheless:

    - nothing is left behind, because whoever wrote that went on to try for the lock. Either they got it, after us, or
      they did not, and then they tried while we had it, and their row was committed before we gave it back, and is
      seen when we look again afterwards;
    - order is kept, because the rows seen hold, with each row, all that its writer committed before;
    - nothing is numbered twice, because rows that somebody else moved in between are gone when we want to delete them,
      and only what was really deleted is inserted.
    """

    skips_locked = True

    _place = f"""
        WITH draft AS MATERIALIZED (
            SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS d (name, payload, exclude, place)
        ), topic AS MATERIALIZED (
            SELECT id, epoch, head FROM {TOPIC}
            WHERE name = %s AND NOT EXISTS (SELECT FROM {OUTBOX} WHERE topic = %s)
            FOR NO KEY UPDATE SKIP LOCKED
        ), placed AS (
            INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at)
            SELECT topic.id, topic.head + place, name, payload, exclude, %s FROM topic, draft
        ), aside AS (
            INSERT INTO {OUTBOX} (topic, name, payload, exclude, created_at)
            SELECT %s, name, payload, exclude, %s FROM draft WHERE NOT EXISTS (SELECT FROM topic) ORDER BY place
        )
        UPDATE {TOPIC} SET head = topic.head + %s FROM topic WHERE {TOPIC}.id = topic.id
        RETURNING topic.epoch, topic.head
    """

    _move = f"""
        WITH topic AS MATERIALIZED (
            SELECT id, epoch, head FROM {TOPIC} WHERE name = %s FOR NO KEY UPDATE SKIP LOCKED
        ), drained AS (
            DELETE FROM {OUTBOX} USING topic
            WHERE {OUTBOX}.id = ANY (ARRAY(SELECT id FROM {OUTBOX} WHERE topic = %s ORDER BY id LIMIT {CHUNK}))
            RETURNING {OUTBOX}.id, name, payload, exclude
        ), numbered AS MATERIALIZED (
            SELECT row_number() OVER (ORDER BY id) AS place, name, payload, exclude FROM drained
        ), placed AS (
            INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at)
            SELECT topic.id, topic.head + place, name, payload, exclude, %s FROM topic, numbered
        ), advanced AS (
            UPDATE {TOPIC} SET head = topic.head + counted.n
            FROM topic, (SELECT count(*) AS n FROM numbered) AS counted
            WHERE {TOPIC}.id = topic.id AND counted.n > 0
        )
        SELECT asked.known, topic.epoch, topic.head, numbered.name, numbered.payload, numbered.exclude
        FROM (SELECT EXISTS (SELECT FROM {TOPIC} WHERE name = %s) AS known) AS asked
        LEFT JOIN topic ON true LEFT JOIN numbered ON true ORDER BY numbered.place
    """

    def place(
        self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft], now: Any
    ) -> tuple[str, int] | None:
        names = [draft.name for draft in drafts]
        payloads = [draft.payload.decode() for draft in drafts]
        excludes = [draft.exclude for draft in drafts]
        with connection.cursor() as cursor:
            cursor.execute(
                self._place, (names, payloads, excludes, topic, topic, now, topic, now, len(drafts))
            )
            row: tuple[str, int] | None = cursor.fetchone()
        return row

    def move(self, connection: BaseDatabaseWrapper, topic: str, now: Any) -> Moved:
        with connection.cursor() as cursor:
            cursor.execute(self._move, (topic, topic, now, topic))
            rows = cursor.fetchall()
        known, epoch, head = rows[0][:3]
        if epoch is None:
            return Moved(known=known, locked=False)
        entries = tuple(
            Entry(offset=offset, name=name, payload=payload.encode(), exclude=exclude)
            for offset, (_, _, _, name, payload, exclude) in enumerate(rows, head + 1)
            if name is not None
        )
        return Moved(known=True, locked=True, epoch=epoch, head=head, entries=entries)

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


def create(cursor: CursorWrapper, topics: Sequence[str], now: Any) -> None:
    """Make the rows of ``topics`` that are not there, each with an epoch of its own."""
    # Sorted: two that created the same rows in different orders would wait for each other.
    insert(
        cursor,
        f"INSERT INTO {TOPIC} (name, epoch, head, created_at) VALUES",
        [(topic, secrets.token_hex(4), 0, now) for topic in sorted(topics)],
        "ON CONFLICT (name) DO NOTHING",
    )


def put_aside(cursor: CursorWrapper, drafts: Sequence[Draft], now: Any) -> None:
    """Write ``drafts`` into the outbox, in their order."""
    insert(
        cursor,
        f"INSERT INTO {OUTBOX} (topic, name, payload, exclude, created_at) VALUES",
        [(draft.topic, draft.name, draft.payload.decode(), draft.exclude, now) for draft in drafts],
    )


def insert(cursor: CursorWrapper, head: str, rows: Sequence[tuple[Any, ...]], tail: str = "") -> None:
    """Insert ``rows`` in their order, many with one statement."""
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        row = f"({', '.join(['%s'] * len(some[0]))})"
        cursor.execute(
            f"{head} {', '.join([row] * len(some))} {tail}", [value for row in some for value in row]
        )
