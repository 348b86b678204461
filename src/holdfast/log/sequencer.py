"""Giving entries their offsets.

Whoever publishes also numbers: there is no process that must be running for that. A topic's row is the lock. Its holder
moves what waits in the outbox into the log, gives the lock back, and looks again; who finds it taken leaves, because
the holder has yet to look again. So contention turns into batches, and nobody waits for anybody.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .base import Batch, Draft
from .conflicts import settled
from .dialects import Dialect, Placed, State
from .rows import create, moment
from .tables import CHUNK, OUTBOX

T = TypeVar("T")

logger = logging.getLogger("holdfast.log")

ROUNDS = 20
"""How often one caller looks again, so as not to work for others for ever: the next publisher, or a sweep, goes on."""

GRACE = timedelta(seconds=1)
"""How long an entry waits before a sweep takes it: a publisher that lives is faster."""


class Sequencer:
    """Numbers entries over the calling thread's connection to one database."""

    def __init__(self, alias: str, dialect: Dialect) -> None:
        self._alias = alias
        self._dialect = dialect

    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        """Write ``drafts`` and number them, or leave that to whoever is numbering the topic this instant."""
        by_topic: dict[str, list[Draft]] = {}
        for draft in drafts:
            by_topic.setdefault(draft.topic, []).append(draft)
        connection = connections[self._alias]
        placed = self._settled(connection, lambda: self._place(connection, by_topic))
        batches: list[Batch] = []
        for topic, place in placed.items():
            if place:
                batches.append(place.batch(topic, by_topic[topic]))
            if not place or place.waiting:  # having had the lock we look again
                batches += self._sequence_later(connection, topic)
        return batches

    def sequence(self, topic: str) -> list[Batch]:
        """Number what waits in ``topic``, unless somebody else does that this instant."""
        return self._sequence(connections[self._alias], topic)

    def overdue(self) -> list[str]:
        """Topics with entries that waited longer than a living publisher would have let them."""
        connection = connections[self._alias]
        return self._settled(connection, partial(_overdue, connection))

    def _place(
        self, connection: BaseDatabaseWrapper, by_topic: dict[str, list[Draft]]
    ) -> dict[str, Placed | None]:
        """In one transaction; ``None`` where the drafts went into the outbox."""
        place = partial(self._dialect.place, connection)
        if len(by_topic) == 1:  # a transaction by itself
            return {topic: place(topic, drafts) for topic, drafts in by_topic.items()}
        with transaction.atomic(using=self._alias):
            return {topic: place(topic, by_topic[topic]) for topic in sorted(by_topic)}

    def _sequence_later(self, connection: BaseDatabaseWrapper, topic: str) -> list[Batch]:
        """Number what waits, or leave it to a sweep: what was appended is durable, and must not be reported as failed."""
        try:
            return self._sequence(connection, topic)
        except DatabaseError:
            if connection.in_atomic_block:
                raise
            logger.warning("could not number what waits in %s; a sweep will", topic, exc_info=True)
            connection.close_if_unusable_or_obsolete()
            return []

    def _sequence(self, connection: BaseDatabaseWrapper, topic: str) -> list[Batch]:
        batches = []
        for _ in range(ROUNDS):
            moved = self._settled(connection, lambda: self._dialect.move(connection, topic))
            if moved.state is State.MOVED:
                batches.append(moved.batch(topic))
                if not self._dialect.skips_locked and len(moved.entries) < CHUNK:
                    break
            elif moved.state is State.UNKNOWN:
                self._settled(connection, partial(create, connection, [topic]))
            else:
                # BUSY is as good as IDLE. What we were called for was committed before we tried for the lock, and we
                # tried before its holder gave it back; the holder looks again after that, and so will see it.
                break
        return batches

    def _settled(self, connection: BaseDatabaseWrapper, attempt: Callable[[], T]) -> T:
        return settled(connection, self._dialect, attempt)


def _overdue(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT topic FROM {OUTBOX} WHERE created_at < %s ORDER BY topic",
            (moment(connection, timezone.now() - GRACE),),
        )
        return [topic for (topic,) in cursor.fetchall()]
