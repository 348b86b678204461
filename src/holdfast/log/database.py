"""The log in Django's database: SQLite or PostgreSQL."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from holdfast.protocol.positions import Position

from .base import Batch, Diverged, Draft, Entry, Head, Log
from .conflicts import settled
from .database_calls import DatabaseCalls
from .dialects import dialect_of
from .errors import ErrorTranslation
from .reading import ConsistentRead, select_entries, select_heads, select_topics
from .rows import renew_seed, replace_epoch
from .sequencer import Sequencer
from .staged import listed
from .transactions import is_open, taking_part, when_committed
from .trimming import expendable, trim

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("holdfast.log")

Committed = Callable[[list[Batch]], None]


class DatabaseLog(Log):
    """A log in the tables of ``holdfast.models``. It uses Django's own connections, so it shares their transactions.

    ``alias`` is the database, as in ``settings.DATABASES``. An event is part of a transaction on that database only.
    """

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self.calls = DatabaseCalls(alias)
        self._dialect = dialect_of(alias)
        self._sequencer = Sequencer(alias, self._dialect)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def in_transaction(self) -> bool:
        return is_open(self.alias)

    def stage(self, drafts: Sequence[Draft], committed: Committed) -> None:
        connection = connections[self.alias]
        if not drafts:
            return
        with ErrorTranslation(connection), taking_part(self.alias):
            self._dialect.stage(connection, drafts)
        self._number_on_commit(connection, {draft.topic for draft in drafts}, committed)

    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        if not drafts:
            return []
        with ErrorTranslation(connections[self.alias]):
            return self._sequencer.append(drafts)

    def sequence(self, topics: Iterable[str]) -> list[Batch]:
        return [batch for batches in self._sequence(topics) for batch in batches]

    def sweep(self) -> list[Batch]:
        with ErrorTranslation(connections[self.alias]):
            overdue = self._sequencer.overdue()
        return self.sequence(overdue)

    def _sequence(self, topics: Iterable[str]) -> Iterator[list[Batch]]:
        with ErrorTranslation(connections[self.alias]):
            yield from self._sequencer.sequence_all(sorted(set(topics)))

    def _number_on_commit(
        self, connection: BaseDatabaseWrapper, topics: set[str], committed: Committed
    ) -> None:
        """Number ``topics`` after the commit. The first callback that runs numbers all topics of the transaction.

        A savepoint that rolls back discards the callbacks registered in it, but not those before it. So each call
        registers a callback; the first to run does the work of all, and the others find nothing to do. Topics that were
        only published to in a savepoint that rolled back may be among them: they have nothing to number.
        """
        pending: dict[Committed, set[str]] = connection.__dict__.setdefault("_holdfast_published", {})
        if not connection.run_on_commit:
            # The dict is an earlier transaction's: it rolled back, or its callbacks run just now and publish in turn.
            # Its callbacks that are still to run need it.
            pending = connection.__dict__["_holdfast_published"] = {}
        pending.setdefault(committed, set()).update(topics)

        def number() -> None:
            if due := pending.pop(committed, None):
                try:
                    for batches in self._sequence(due):
                        committed(batches)
                except Exception:
                    # The transaction is committed, so an error could not reach its author. A sweep finishes the work.
                    logger.exception(
                        "events of %s are committed but could not be numbered now; the next sweep will number and send them",
                        listed(due),
                    )

        when_committed(number, self.alias)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def heads(self, topics: Collection[str]) -> Mapping[str, Head]:
        names = sorted(set(topics))
        connection = connections[self.alias]
        with ErrorTranslation(connection):
            return self._settled(select_heads, connection, names)

    def read(self, topic: str, after: Position, limit: int, size: int | None = None) -> list[Entry]:
        connection = connections[self.alias]
        with ErrorTranslation(connection):
            found = self._settled(select_entries, connection, self._dialect, topic, after, limit, size)
        if isinstance(found, type):
            raise found(topic, after.offset, self.heads([topic])[topic])
        return found

    def rotate_epoch(self, topic: str, position: Position | None = None) -> Head:
        epoch = self.heads([topic])[topic].epoch if position is None else position.epoch
        connection = connections[self.alias]
        with ErrorTranslation(connection):
            # Within one epoch a missing entry never comes back: the finding holds as long as the epoch does.
            if position is None or self._diverged(topic, position):
                self._settled(replace_epoch, connection, topic, epoch)
        return self.heads([topic])[topic]

    def renew_first_epochs(self) -> None:
        connection = connections[self.alias]
        with ErrorTranslation(connection):
            self._settled(renew_seed, connection)

    def consistent_read(
        self, topic: str, take: Callable[[], T], numbered: Callable[[list[Batch]], None] | None = None
    ) -> tuple[Position, T]:
        connection = connections[self.alias]
        exact = ConsistentRead(connection, self._dialect, self._sequencer, topic, numbered or discard)
        if connection.in_atomic_block:
            return exact.take_inside(take)
        with ErrorTranslation(connection) as guard:
            return exact.take(take, guard)

    def _diverged(self, topic: str, position: Position) -> bool:
        connection = connections[self.alias]
        return self._settled(select_entries, connection, self._dialect, topic, position, 0) is Diverged

    # ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def trim(
        self, topic: str, *, before: datetime | None = None, count: int | None = None, dry_run: bool = False
    ) -> int:
        connection = connections[self.alias]
        with ErrorTranslation(connection):
            if dry_run:
                return self._settled(expendable, connection, topic, before, count)
            return trim(connection, self._dialect, topic, before, count)

    def topics(self) -> list[str]:
        connection = connections[self.alias]
        with ErrorTranslation(connection):
            return self._settled(select_topics, connection)

    def _settled(self, statement: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return settled(connections[self.alias], self._dialect, partial(statement, *args, **kwargs))


def discard(_: list[Batch]) -> None:
    """Callback for callers that pass none."""
