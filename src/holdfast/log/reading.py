"""Queries of readers: heads, entries after a position, and a state that agrees with a position."""

import json
import random
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from holdfast.protocol.positions import Position

from .base import Batch, Diverged, Entry, Head, LogUnavailable, Trimmed, stamp_of, upto_size
from .dialects import Dialect
from .epochs import first_epoch
from .errors import ErrorTranslation
from .placing import MoveState
from .rows import epoch_before_first, seed_of
from .sequencer import Sequencer
from .tables import ENTRY, OUTBOX, TOPIC

T = TypeVar("T")

Numbered = Callable[[list[Batch]], None]

LOOKS = 5
"""Attempts of :class:`ConsistentRead` at finding no waiting entry, before it takes the topic's lock."""

HEADS = 5000
"""Topics whose heads one statement reads."""

TRIES = 200
"""Attempts at that lock, a few milliseconds apart."""


def select_heads(connection: BaseDatabaseWrapper, topics: Sequence[str]) -> dict[str, Head]:
    """Return the state of each of ``topics``. The floor is where the entries start, or the head; see :mod:`.trimming` for the
    empty entry that may be there. A topic without a row has its first epoch, and no entry."""
    heads = {}
    with connection.cursor() as cursor:
        for start in range(0, len(topics), HEADS):
            some = list(topics[start : start + HEADS])
            among = "IN (SELECT value FROM json_each(%s))" if connection.vendor == "sqlite" else "= ANY (%s)"
            cursor.execute(
                "SELECT name, epoch, head,"
                ' (SELECT CASE WHEN name = \'\' THEN "offset" ELSE "offset" - 1 END'
                f' FROM {ENTRY} WHERE topic_id = t.id ORDER BY "offset" LIMIT 1),'
                f' (SELECT created_at FROM {ENTRY} WHERE topic_id = t.id AND "offset" = t.head)'
                f" FROM {TOPIC} t WHERE name {among}",
                [json.dumps(some) if connection.vendor == "sqlite" else some],
            )
            for name, epoch, head, floor, written in cursor.fetchall():
                heads[name] = Head(
                    epoch=epoch, offset=head, floor=head if floor is None else floor, stamp=stamp_of(written)
                )
    if len(heads) < len(topics):
        seed = seed_of(connection)
        for topic in topics:
            if topic not in heads:
                heads[topic] = Head(epoch=first_epoch(seed, topic), offset=0)
    return heads


def select_topics(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name FROM {TOPIC} ORDER BY name")
        return [name for (name,) in cursor.fetchall()]


def select_entries(
    connection: BaseDatabaseWrapper,
    dialect: Dialect,
    topic: str,
    after: Position,
    limit: int,
    size: int | None = None,
) -> list[Entry] | type[Trimmed]:
    """Return the entries after a position, or the class of the error to raise."""
    # One statement, so that a trim cannot fall between the head and the entries. The entry at the position is
    # read too, but not its payload: it tells whether it is the one that the position was taken from.
    first, last = after.offset, after.offset + max(limit, 0)
    with connection.cursor() as cursor:
        if size is not None and dialect.fetches_all:
            cursor.execute(_WEIGHED, (first, first, first, last, size, topic))
        else:
            cursor.execute(_AFTER, (first, first, last, topic))
        row = cursor.fetchone()
        if row is None and after.epoch == epoch_before_first(connection, topic):
            return Diverged if after.offset else []
        if row is None or row[0] != after.epoch:
            return Trimmed
        head, offset, written = row[1:4]
        there = offset == after.offset
        if after.offset > head or (there and after.stamp not in (0, stamp_of(written))):
            return Diverged
        if there:
            row = cursor.fetchone()
        if row is None or offset is None:
            return [] if after.offset == head or limit <= 0 else Trimmed
        if row[2] != after.offset + 1 or not row[4]:
            return Trimmed
        return upto_size(map(_entry, chain([row], cursor)), size)


_AFTER = f"""
SELECT t.epoch, t.head, e."offset", e.created_at, e.name, e.exclude, CASE WHEN e."offset" > %s THEN e.payload END
FROM {TOPIC} t LEFT JOIN {ENTRY} e ON e.topic_id = t.id AND e."offset" >= %s AND e."offset" <= %s
WHERE t.name = %s ORDER BY e."offset"
"""

_WEIGHED = f"""
SELECT t.epoch, t.head, e."offset", e.created_at, e.name, e.exclude, e.payload
FROM {TOPIC} t LEFT JOIN LATERAL (
    SELECT "offset", created_at, name, exclude, CASE WHEN "offset" > %s THEN payload END AS payload,
        sum(CASE WHEN "offset" > %s THEN octet_length(payload) END)
            OVER (ORDER BY "offset" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM {ENTRY} WHERE topic_id = t.id AND "offset" >= %s AND "offset" <= %s
) e ON coalesce(e.before, 0) < %s
WHERE t.name = %s ORDER BY e."offset"
"""
"""As :data:`_AFTER`, without the entries before which the payloads reach a number of bytes. PostgreSQL knows the length of a
payload that it stores apart without reading it."""


def _entry(row: tuple[Any, ...]) -> Entry:
    _, _, offset, written, name, exclude, payload = row
    return Entry(offset=offset, name=name, payload=payload.encode(), exclude=exclude, stamp=stamp_of(written))


class Progress(NamedTuple):
    """How far a topic is, and whether anything that is visible has no offset yet. ``epoch`` is ``None`` if it has no row."""

    epoch: str | None
    head: int
    stamp: int
    waiting: bool

    def position(self, connection: BaseDatabaseWrapper, topic: str) -> Position:
        """Return the topic's position. Call it after the transaction that must see one state: it may store the log's seed."""
        epoch = epoch_before_first(connection, topic) if self.epoch is None else self.epoch
        return Position(epoch=epoch, offset=self.head, stamp=self.stamp)


class ConsistentRead:
    """A read of a value together with the position that agrees with it.

    In a transaction that sees one state of the database: if that state holds no entry of the topic without an offset,
    then the events of all transactions in it are numbered, and the head is the position. (An entry is numbered after
    its transaction committed, so the state holds the effects of all entries up to its head.)
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        dialect: Dialect,
        sequencer: Sequencer,
        topic: str,
        numbered: Numbered,
    ) -> None:
        self._connection = connection
        self._dialect = dialect
        self._sequencer = sequencer
        self._topic = topic
        self._numbered = numbered

    def take(self, take: Callable[[], T], guard: ErrorTranslation) -> tuple[Position, T]:
        """In a transaction of its own."""
        for _ in range(LOOKS):
            found = self._take_if_numbered(take, guard)
            if found is not None:
                state, value = found
                return state.position(self._connection, self._topic), value
            self._sequence()
        # The topic is so busy that something always waits. Then what is visible is numbered in the same transaction.
        for _ in range(TRIES):
            if taken := self._take_locked(take, guard):
                return taken
            time.sleep(random.uniform(0.001, 0.005))  # noqa: S311 - it only spreads the tries
        raise LogUnavailable(f"topic {self._topic!r} is being numbered without a pause")

    def _take_if_numbered(self, take: Callable[[], T], guard: ErrorTranslation) -> tuple[Progress, T] | None:
        with self._dialect.frozen(self._connection):
            state = look(self._connection, self._topic)
            if state.waiting:
                return None
            guard.off()
            return state, take()

    def take_inside(self, take: Callable[[], T]) -> tuple[Position, T]:
        """In the caller's transaction, where each statement may see a newer state: so look before and after."""
        for _ in range(LOOKS):
            self._sequence()
            before = look(self._connection, self._topic)
            value = take()
            if before == look(self._connection, self._topic) and not before.waiting:
                return before.position(self._connection, self._topic), value
        raise LogUnavailable(f"topic {self._topic!r} changes while its state is taken inside a transaction")

    def _take_locked(self, take: Callable[[], T], guard: ErrorTranslation) -> tuple[Position, T] | None:
        batches = None
        taking = False
        try:
            with self._dialect.frozen(self._connection):
                batches = self._number_visible()
                if batches is None:
                    return None
                state = look(self._connection, self._topic)
                guard.off()
                taking = True
                value = take()
            self._numbered(batches)
            return state.position(self._connection, self._topic), value
        except DatabaseError as error:
            if taking or not self._dialect.conflict(error):
                raise
            return None
        finally:
            if batches is not None:
                # We had the lock, even if it came to nothing: others rely on us to look again.
                self._sequence()

    def _number_visible(self) -> list[Batch] | None:
        """Number all entries that the transaction sees; return ``None`` if another caller is numbering."""
        batches: list[Batch] = []
        while True:
            moved = self._dialect.move(self._connection, self._topic)
            if moved.state is MoveState.IDLE:
                return batches
            if moved.state is not MoveState.MOVED:
                return None
            batches.append(moved.batch(self._topic))

    def _sequence(self) -> None:
        if batches := self._sequencer.sequence(self._topic):
            self._numbered(batches)


def look(connection: BaseDatabaseWrapper, topic: str) -> Progress:
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT t.epoch, t.head, (SELECT created_at FROM {ENTRY} WHERE topic_id = t.id AND "offset" = t.head),'
            f" EXISTS (SELECT 1 FROM {OUTBOX} WHERE topic = %s)"
            f" FROM (SELECT 1 AS one) AS always LEFT JOIN {TOPIC} t ON t.name = %s",
            (topic, topic),
        )
        epoch, head, written, waiting = cursor.fetchone()
    return Progress(epoch, head or 0, stamp_of(written), bool(waiting))
