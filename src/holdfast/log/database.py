"""The log in Django's database: SQLite or PostgreSQL."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from holdfast.protocol.positions import Position

from . import calls
from .base import Answer, Batch, Claim, Diverged, Draft, Entry, Head, Log
from .conflicts import settled
from .dialects import DIALECTS, Dialect
from .enlisted import listed
from .guard import Guard
from .reading import Exact, select_entries, select_heads, select_topics
from .rows import create, replace_epoch
from .sequencer import Sequencer
from .transactions import is_open, taking_part, when_committed
from .trimming import expendable, trim

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("holdfast.log")

Committed = Callable[[list[Batch]], None]


class DatabaseLog(Log):
    """A log in the tables of ``holdfast.models``, over Django's own connections, so that it shares their transactions.

    ``alias`` is the database, as in ``settings.DATABASES``. An event is part of a transaction on that database only.
    """

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self._dialect = dialect_of(alias)
        self._sequencer = Sequencer(alias, self._dialect)

    def conflict(self, error: BaseException) -> bool:
        return isinstance(error, DatabaseError) and self._dialect.conflict(error)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def in_transaction(self) -> bool:
        return is_open(self.alias)

    def enlist(self, drafts: Sequence[Draft], committed: Committed) -> None:
        connection = connections[self.alias]
        if not drafts:
            return
        with Guard(connection), taking_part(self.alias):
            self._dialect.put_aside(connection, drafts)
        self._number_on_commit(connection, {draft.topic for draft in drafts}, committed)

    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        if not drafts:
            return []
        with Guard(connections[self.alias]):
            return self._sequencer.append(drafts)

    def sequence(self, topics: Iterable[str]) -> list[Batch]:
        return [batch for batches in self._sequence(topics) for batch in batches]

    def sweep(self) -> list[Batch]:
        with Guard(connections[self.alias]):
            overdue = self._sequencer.overdue()
        return self.sequence(overdue)

    def _sequence(self, topics: Iterable[str]) -> Iterator[list[Batch]]:
        with Guard(connections[self.alias]):
            yield from self._sequencer.sequence_all(sorted(set(topics)))

    def _number_on_commit(
        self, connection: BaseDatabaseWrapper, topics: set[str], committed: Committed
    ) -> None:
        """Number ``topics`` after the commit: all that a transaction published to, at the first callback that runs.

        A savepoint that rolls back discards the callbacks registered in it, but not those before it. So each call
        registers one, the first of them to run does the work of all, and the rest find nothing to do. Topics that were
        only published to in a savepoint that rolled back may be among them: there is nothing to number there.
        """
        pending: dict[Committed, set[str]] = connection.__dict__.setdefault("_holdfast_published", {})
        if not connection.run_on_commit:
            # What is there is an earlier transaction's: one that rolled back, or whose callbacks are just being called
            # and publish in turn. Those that are still to come need theirs.
            pending = connection.__dict__["_holdfast_published"] = {}
        pending.setdefault(committed, set()).update(topics)

        def number() -> None:
            if due := pending.pop(committed, None):
                try:
                    for batches in self._sequence(due):
                        committed(batches)
                except Exception:
                    # The transaction is committed: its author cannot be told now, and a sweep finishes the work.
                    logger.exception("could not number the events of %s; a sweep will", listed(due))

        when_committed(number, self.alias)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def heads(self, topics: Collection[str]) -> Mapping[str, Head]:
        names = sorted(set(topics))
        connection = connections[self.alias]
        with Guard(connection):
            heads = self._settled(select_heads, connection, names)
            if missing := [name for name in names if name not in heads]:
                self._settled(create, connection, missing)
                heads |= self._settled(select_heads, connection, missing)
        return heads

    def read(self, topic: str, after: Position, limit: int) -> list[Entry]:
        connection = connections[self.alias]
        with Guard(connection):
            found = self._settled(select_entries, connection, topic, after, limit)
        if isinstance(found, type):
            raise found(topic, after.offset, self.heads([topic])[topic])
        return found

    def renew(self, topic: str, position: Position | None = None) -> Head:
        epoch = self.heads([topic])[topic].epoch if position is None else position.epoch
        connection = connections[self.alias]
        with Guard(connection):
            # Within one epoch nothing comes back that is gone: what is found out holds as long as the epoch does.
            if position is None or self._settled(select_entries, connection, topic, position, 0) is Diverged:
                self._settled(replace_epoch, connection, topic, epoch)
        return self.heads([topic])[topic]

    def exactly(
        self, topic: str, take: Callable[[], T], numbered: Callable[[list[Batch]], None] | None = None
    ) -> tuple[Position, T]:
        connection = connections[self.alias]
        exact = Exact(connection, self._dialect, self._sequencer, topic, numbered or discard)
        if connection.in_atomic_block:
            return exact.take_inside(take)
        with Guard(connection) as guard:
            return exact.take(take, guard)

    # ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def trim(
        self, topic: str, *, before: datetime | None = None, count: int | None = None, dry_run: bool = False
    ) -> int:
        connection = connections[self.alias]
        with Guard(connection):
            if dry_run:
                return self._settled(expendable, connection, topic, before, count)
            return trim(connection, self._dialect, topic, before, count)

    def topics(self) -> list[str]:
        connection = connections[self.alias]
        with Guard(connection):
            return self._settled(select_topics, connection)

    # ── calls carried out once ───────────────────────────────────────────────────────────────────────────────────────

    def claim(self, owner: str, key: str, target: str, *, seconds: float) -> Claim:
        connection = connections[self.alias]
        with Guard(connection):
            return self._settled(calls.claim, connection, owner, key, target, seconds)

    def answer(self, owner: str, key: str, answer: Answer) -> None:
        connection = connections[self.alias]
        with Guard(connection):
            self._settled(calls.answer, connection, owner, key, answer)

    def release(self, owner: str, key: str) -> None:
        connection = connections[self.alias]
        with Guard(connection):
            self._settled(calls.release, connection, owner, key)

    def forget_answers(self, before: datetime) -> int:
        connection = connections[self.alias]
        with Guard(connection):
            return calls.forget(connection, self._dialect, before)

    def _settled(self, statement: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return settled(connections[self.alias], self._dialect, partial(statement, *args, **kwargs))


def dialect_of(alias: str) -> Dialect:
    vendor = connections[alias].vendor
    if vendor not in DIALECTS:
        raise ImproperlyConfigured(
            f"Holdfast's log cannot be kept in the database {alias!r}: it is {vendor}, and SQLite or PostgreSQL is needed. Name"
            ' one as HOLDFAST["DATABASE"], or keep the log in Redis ("LOG": "redis"); `python manage.py check` says more.'
        )
    return DIALECTS[vendor]


def discard(_: list[Batch]) -> None:
    """Nobody wants to know."""
