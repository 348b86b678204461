"""The sequencer: gives entries their offsets.

Every publisher also numbers, so no particular process must be running for that. A topic's row is the lock. Its holder moves the
waiting entries of the outbox into the log, releases the lock, and looks again. A caller that finds the lock taken leaves,
because the holder has yet to look again. Contention thus turns into batches, and no caller waits for another.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .base import Batch, Draft
from .conflicts import settled
from .dialects import Dialect
from .placing import MoveState, Placed
from .rows import moment
from .staged import listed
from .tables import CHUNK, OUTBOX

T = TypeVar("T")

logger = logging.getLogger("holdfast.log")

ROUNDS = 20
"""Rounds of one caller, so that it does not work for other publishers for ever. The next publisher, or a sweep, goes on."""

GRACE = timedelta(seconds=1)
"""The age at which a sweep takes a waiting entry. A living publisher is faster."""


class Sequencer:
    """Numbers entries through the calling thread's connection to one database."""

    def __init__(self, alias: str, dialect: Dialect) -> None:
        self._alias = alias
        self._dialect = dialect

    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        """Write ``drafts`` and number them, or leave that to the caller that is numbering the topic at this moment."""
        by_topic: dict[str, list[Draft]] = {}
        for draft in drafts:
            by_topic.setdefault(draft.topic, []).append(draft)
        connection = connections[self._alias]
        placed = self._settled(connection, lambda: self._place(connection, by_topic))
        batches = [place.batch(topic, by_topic[topic]) for topic, place in sorted(placed.items())]
        # Having had the lock we look again; and where we did not get it, its holder may have looked before we wrote.
        unsettled = [topic for topic in by_topic if topic not in placed or placed[topic].waiting]
        return batches + self._sequence_later(connection, unsettled)

    def sequence(self, topic: str) -> list[Batch]:
        """Number what waits in ``topic``, unless another caller does that this instant."""
        return self._sequence(connections[self._alias], topic)

    def sequence_all(self, topics: Sequence[str]) -> Iterator[list[Batch]]:
        """Number what waits in ``topics``, about ``CHUNK`` entries at a time, each portion in a short transaction."""
        connection = connections[self._alias]
        if len(topics) == 1:  # the ordinary case, and the cheaper statement
            if batches := self._sequence(connection, topics[0]):
                yield batches
            return
        for start in range(0, len(topics), CHUNK):
            yield from self._sequence_many(connection, topics[start : start + CHUNK])

    def overdue(self) -> list[str]:
        """Topics with entries that waited longer than a living publisher would have let them."""
        connection = connections[self._alias]
        return self._settled(connection, partial(_overdue, connection))

    def _place(
        self, connection: BaseDatabaseWrapper, by_topic: Mapping[str, Sequence[Draft]]
    ) -> dict[str, Placed]:
        """Write the drafts in one transaction. Those of topics that are missing in the result went into the outbox."""
        if len(by_topic) == 1:
            ((topic, drafts),) = by_topic.items()
            place = self._dialect.place(connection, topic, drafts)
            return {topic: place} if place else {}
        portions = list(portions_of(by_topic))
        if len(portions) == 1:
            return self._dialect.place_many(connection, portions[0])  # a transaction by itself
        placed: dict[str, Placed] = {}
        with transaction.atomic(using=self._alias):
            for portion in portions:
                placed |= self._dialect.place_many(connection, portion)
        return placed

    def _sequence_later(self, connection: BaseDatabaseWrapper, topics: Sequence[str]) -> list[Batch]:
        """Number what waits, or leave it to a sweep: what was appended is durable, and must not be reported as failed."""
        batches: list[Batch] = []
        try:
            if topics:
                for some in self.sequence_all(sorted(topics)):
                    batches += some
        except DatabaseError:
            if connection.in_atomic_block:
                raise
            logger.warning(
                "events of %s are stored but could not be numbered now; the next sweep will number and send them",
                listed(topics),
                exc_info=True,
            )
            connection.close_if_unusable_or_obsolete()
        return batches

    def _sequence(self, connection: BaseDatabaseWrapper, topic: str) -> list[Batch]:
        batches = []
        for _ in range(ROUNDS):
            moved = self._settled(connection, lambda: self._dialect.move(connection, topic))
            if moved.state is not MoveState.MOVED:
                # BUSY is as good as IDLE. What we were called for was committed before we tried for the lock, and we
                # tried before its holder gave it back; the holder looks again after that, and so will see it.
                break
            batches.append(moved.batch(topic))
            if not self._dialect.skips_locked and len(moved.entries) < CHUNK:
                break
        return batches

    def _sequence_many(self, connection: BaseDatabaseWrapper, topics: Sequence[str]) -> Iterator[list[Batch]]:
        """As :meth:`_sequence`, for topics that share each transaction."""
        asked = topics
        for _ in range(ROUNDS * len(topics)):
            batches = self._settled(connection, lambda: self._dialect.move_many(connection, asked))  # noqa: B023 - called at once
            if not batches:
                break
            yield batches
            if sum(len(batch.entries) for batch in batches) < CHUNK:
                if not self._dialect.skips_locked:
                    break
                asked = [batch.topic for batch in batches]  # those whose locks we had

    def _settled(self, connection: BaseDatabaseWrapper, attempt: Callable[[], T]) -> T:
        return settled(connection, self._dialect, attempt)


def _overdue(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT topic FROM {OUTBOX} WHERE created_at < %s ORDER BY topic",
            (moment(connection, timezone.now() - GRACE),),
        )
        return [topic for (topic,) in cursor.fetchall()]


def portions_of(by_topic: Mapping[str, Sequence[Draft]]) -> Iterator[dict[str, Sequence[Draft]]]:
    """Cut drafts into portions for one statement each, of about ``CHUNK`` drafts, in the order of the topics' names: two
    transactions that create the same topics do so in the same order."""
    portion: dict[str, Sequence[Draft]] = {}
    count = 0
    for topic in sorted(by_topic):
        portion[topic] = by_topic[topic]
        count += len(by_topic[topic])
        if count >= CHUNK:
            yield portion
            portion, count = {}, 0
    if portion:
        yield portion
