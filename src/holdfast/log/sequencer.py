"""Giving entries their offsets.

Whoever publishes also numbers: there is no process that must be running for that. A topic's row is the lock. Its holder
moves what waits in the outbox into the log, gives the lock back, and looks again; who finds it taken leaves, because
the holder has yet to look again. So contention turns into batches, and nobody waits for anybody.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .base import Batch, Draft, Entry
from .dialects import Dialect, State
from .rows import create, moment
from .tables import CHUNK, OUTBOX

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
        if len(by_topic) == 1:
            placed = [self._place(connection, *by_topic.popitem())]
        else:
            with transaction.atomic(using=self._alias):
                placed = [self._place(connection, topic, by_topic[topic]) for topic in sorted(by_topic)]
        batches: list[Batch] = []
        for topic, batch in placed:
            if batch:
                batches.append(batch)
            if not batch or self._dialect.skips_locked:  # having had the lock we look again
                batches += self._sequence(connection, topic)
        return batches

    def sequence(self, topic: str) -> list[Batch]:
        """Number what waits in ``topic``, unless somebody else does that this instant."""
        return self._sequence(connections[self._alias], topic)

    def overdue(self) -> list[str]:
        """Topics with entries that waited longer than a living publisher would have let them."""
        connection = connections[self._alias]
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT DISTINCT topic FROM {OUTBOX} WHERE created_at < %s ORDER BY topic",
                (moment(connection, timezone.now() - GRACE),),
            )
            return [topic for (topic,) in cursor.fetchall()]

    def _place(
        self, connection: BaseDatabaseWrapper, topic: str, drafts: Sequence[Draft]
    ) -> tuple[str, Batch | None]:
        placed = self._dialect.place(connection, topic, drafts)
        if placed is None:
            return topic, None
        epoch, head = placed
        entries = tuple(
            Entry(offset=offset, name=draft.name, payload=draft.payload, exclude=draft.exclude)
            for offset, draft in enumerate(drafts, head + 1)
        )
        return topic, Batch(topic=topic, epoch=epoch, entries=entries)

    def _sequence(self, connection: BaseDatabaseWrapper, topic: str) -> list[Batch]:
        batches = []
        for _ in range(ROUNDS):
            moved = self._dialect.move(connection, topic)
            if moved.state is State.MOVED:
                batches.append(Batch(topic=topic, epoch=moved.epoch, entries=moved.entries))
                if not self._dialect.skips_locked and len(moved.entries) < CHUNK:
                    break
            elif moved.state is State.UNKNOWN:
                create(connection, [topic])
            else:
                # BUSY is as good as IDLE. What we were called for was committed before we tried for the lock, and we
                # tried before its holder gave it back; the holder looks again after that, and so will see it.
                break
        return batches
