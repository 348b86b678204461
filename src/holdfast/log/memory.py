"""A log in the memory of this process, for tests and for trying things out. It ends with the process."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.utils import timezone

from holdfast.protocol.positions import Position

from .base import Batch, Diverged, Draft, Entry, Head, Log, Trimmed, stamp_of, upto_size
from .epochs import first_epoch, new_epoch, new_seed
from .memory_calls import MemoryCalls
from .transactions import is_open, when_committed

T = TypeVar("T")

TRIES = 20
"""Attempts of :meth:`MemoryLog.consistent_read` at a read during which nothing is written, before it locks writers out."""


@dataclass(slots=True)
class MemoryTopic:
    """The entries of one topic."""

    epoch: str
    head: int = 0
    entries: list[Entry] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    floor_stamp: int = 0

    def state(self) -> Head:
        floor = self.head - len(self.entries)
        return Head(epoch=self.epoch, offset=self.head, floor=floor, stamp=self.stamp_at(self.head))

    def stamp_at(self, offset: int) -> int:
        place = offset - (self.head - len(self.entries)) - 1
        if place == -1:
            return self.floor_stamp
        return self.entries[place].stamp if 0 <= place < len(self.entries) else 0

    def diverged(self, position: Position) -> bool:
        there = self.stamp_at(position.offset)
        return position.offset > self.head or bool(there and position.stamp and there != position.stamp)


class MemoryLog(Log):
    """A log that takes part in Django's transactions on the database ``alias``: staged drafts are written when they commit.

    A process that dies between the two loses events, but this log would have lost them anyway. A value from ``consistent_read``
    agrees with the position for state that changes together with the log, and nearly so for state in a database.
    """

    blocking = False
    shared = False

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self._lock = threading.RLock()
        self._streams: dict[str, MemoryTopic] = {}  # those that had an entry
        self._seed = new_seed()
        self.calls = MemoryCalls(alias)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def in_transaction(self) -> bool:
        return is_open(self.alias)

    def stage(self, drafts: Sequence[Draft], committed: Callable[[list[Batch]], None]) -> None:
        if drafts:
            drafts = tuple(drafts)
            when_committed(lambda: committed(self.append(drafts)), self.alias)

    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        by_topic: dict[str, list[Draft]] = {}
        for draft in drafts:
            by_topic.setdefault(draft.topic, []).append(draft)
        with self._lock:
            present = timezone.now()
            return [self._write(topic, by_topic[topic], present) for topic in sorted(by_topic)]

    def _write(self, topic: str, drafts: list[Draft], present: datetime) -> Batch:
        stream, stamp = self._stream(topic), stamp_of(present)
        self._streams[topic] = stream
        before = stream.stamp_at(stream.head)
        entries = tuple(
            Entry(offset=offset, name=draft.name, payload=draft.payload, exclude=draft.exclude, stamp=stamp)
            for offset, draft in enumerate(drafts, stream.head + 1)
        )
        stream.entries += entries
        stream.times += [present] * len(entries)
        stream.head += len(entries)
        return Batch(topic=topic, epoch=stream.epoch, entries=entries, before=before)

    def sequence(self, topics: Iterable[str]) -> list[Batch]:
        return []  # entries get their offsets as they are written

    def sweep(self) -> list[Batch]:
        return []

    def _stream(self, topic: str) -> MemoryTopic:
        """Return the entries of a topic. One without entries is not stored."""
        found = self._streams.get(topic)
        return MemoryTopic(first_epoch(self._seed, topic)) if found is None else found

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def heads(self, topics: Collection[str]) -> Mapping[str, Head]:
        with self._lock:
            return {topic: self._stream(topic).state() for topic in topics}

    def read(self, topic: str, after: Position, limit: int, size: int | None = None) -> list[Entry]:
        with self._lock:
            stream = self._stream(topic)
            head = stream.state()
            if after.epoch == head.epoch and stream.diverged(after):
                raise Diverged(topic, after.offset, head)
            if after.epoch != head.epoch or after.offset < head.floor:
                raise Trimmed(topic, after.offset, head)
            start = after.offset - head.floor
            return upto_size(stream.entries[start : start + max(limit, 0)], size)

    def rotate_epoch(self, topic: str, position: Position | None = None) -> Head:
        with self._lock:
            stream = self._stream(topic)
            if position is None or (position.epoch == stream.epoch and stream.diverged(position)):
                self._streams[topic] = stream
                stream.epoch = new_epoch()
            return stream.state()

    def renew_first_epochs(self) -> None:
        with self._lock:
            self._seed = new_seed()

    def consistent_read(
        self, topic: str, take: Callable[[], T], numbered: Callable[[list[Batch]], None] | None = None
    ) -> tuple[Position, T]:
        for _ in range(TRIES):
            before = self.heads([topic])[topic]
            value = take()
            if self.heads([topic])[topic].position == before.position:
                return before.position, value
        with self._lock:
            return self.heads([topic])[topic].position, take()

    # ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def trim(
        self, topic: str, *, before: datetime | None = None, count: int | None = None, dry_run: bool = False
    ) -> int:
        with self._lock:
            stream = self._streams.get(topic)
            if stream is None:
                return 0
            old = 0 if before is None else bisect_left(stream.times, before)
            surplus = 0 if count is None else len(stream.entries) - count
            gone = max(old, surplus, 0)
            if dry_run:
                return gone
            if gone:
                stream.floor_stamp = stream.entries[gone - 1].stamp
            del stream.entries[:gone], stream.times[:gone]
            return gone

    def topics(self) -> list[str]:
        with self._lock:
            return sorted(self._streams)
