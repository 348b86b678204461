"""Values for placing drafts in the log: parameters for the database, and outcomes."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from .base import Batch, Draft, Entry


class MoveState(Enum):
    """The outcome of an attempt to number a topic's waiting entries."""

    IDLE = "idle"
    """No entry waits."""

    MOVED = "moved"
    """Some entries got their offsets; more may wait."""

    BUSY = "busy"
    """Another caller has the topic's lock, and looks again after giving it back."""


class Moved(NamedTuple):
    """The outcome of an attempt, and the entries that got offsets; ``before`` is the stamp of the entry that they follow."""

    state: MoveState
    epoch: str = ""
    entries: tuple[Entry, ...] = ()
    before: int = 0

    def batch(self, topic: str) -> Batch:
        return Batch(topic=topic, epoch=self.epoch, entries=self.entries, before=self.before)


class Placed(NamedTuple):
    """The place of drafts in the log: after ``head``, whose stamp is ``before``. They all have the same ``stamp``.

    ``waiting``: whether entries of callers that found the lock taken, and rely on its holder, may wait in the outbox by now.
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


Event = tuple[str, str, str]
"""Name, payload and excluded client, as the columns take them."""


def event_of(draft: Draft) -> Event:
    return draft.name, draft.payload.decode(), draft.exclude


class TopicRow(NamedTuple):
    """A topic's row, the time at which the entry at its head was written, and whether entries wait in the outbox."""

    name: str
    id: int
    epoch: str
    head: int
    before: Any
    waiting: bool


ARRAYS = "%s::text[], %s::text[], %s::text[], %s::text[]"


def columns_of(drafts: Sequence[Draft]) -> tuple[list[str], ...]:
    """The parameters for :data:`ARRAYS`: topics, names, payloads, excluded clients."""
    return (
        [draft.topic for draft in drafts],
        [draft.name for draft in drafts],
        [draft.payload.decode() for draft in drafts],
        [draft.exclude for draft in drafts],
    )


def entries_of(rows: Iterable[tuple[int, str, str, str]], stamp: int) -> tuple[Entry, ...]:
    """Entries of one batch from the rows of a cursor: offset, name, payload and exclude."""
    return tuple(
        Entry(offset=offset, name=name, payload=payload.encode(), exclude=exclude, stamp=stamp)
        for offset, name, payload, exclude in rows
    )
