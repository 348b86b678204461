"""A log in the memory of this process, for tests and for trying things out: it ends with the process."""

import secrets
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from django.utils import timezone

from holdfast.protocol.positions import Position

from .base import Answer, Batch, Claim, Diverged, Draft, Entry, Head, Log, LogError, Trimmed, stamp_of
from .transactions import is_open, when_committed

T = TypeVar("T")

TRIES = 20
"""How often :meth:`MemoryLog.exactly` hopes that nothing is written meanwhile, before it keeps writers out."""


@dataclass(slots=True)
class Stream:
    """One topic."""

    epoch: str = field(default_factory=lambda: secrets.token_hex(4))
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


class Membership:
    """Lives as long as the transaction that something was done in, or for good once that has committed."""

    __slots__ = ("__weakref__",)


@dataclass(slots=True)
class Attempt:
    """A claimed call."""

    target: str
    made: datetime
    ends: datetime
    answer: Answer | None = None
    transaction: weakref.ref[Membership] | None = None

    def rolled_back(self) -> bool:
        # Django tells nobody about a rollback, but it forgets what was to be called on commit.
        return self.transaction is not None and self.transaction() is None

    def settle(self, _: Membership) -> None:
        self.transaction = None


class MemoryLog(Log):
    """Takes part in Django's transactions on the database ``alias``: what was enlisted is written when they commit.

    So a process that dies between the two loses events; this log would have lost them anyway. What ``exactly`` takes
    agrees with the position for what changes together with the log, and nearly so for what is in a database.
    """

    blocking = False
    shared = False

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self._lock = threading.RLock()
        self._streams: dict[str, Stream] = {}
        self._attempts: dict[tuple[str, str], Attempt] = {}

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def in_transaction(self) -> bool:
        return is_open(self.alias)

    def enlist(self, drafts: Sequence[Draft], committed: Callable[[list[Batch]], None]) -> None:
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

    def _stream(self, topic: str) -> Stream:
        return (
            self._streams.setdefault(topic, Stream()) if topic not in self._streams else self._streams[topic]
        )

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def heads(self, topics: Collection[str]) -> Mapping[str, Head]:
        with self._lock:
            return {topic: self._stream(topic).state() for topic in topics}

    def read(self, topic: str, after: Position, limit: int) -> list[Entry]:
        with self._lock:
            stream = self._stream(topic)
            head = stream.state()
            if after.epoch == head.epoch and stream.diverged(after):
                raise Diverged(topic, after.offset, head)
            if after.epoch != head.epoch or after.offset < head.floor:
                raise Trimmed(topic, after.offset, head)
            start = after.offset - head.floor
            return stream.entries[start : start + max(limit, 0)]

    def renew(self, topic: str, position: Position | None = None) -> Head:
        with self._lock:
            stream = self._stream(topic)
            if position is None or (position.epoch == stream.epoch and stream.diverged(position)):
                stream.epoch = secrets.token_hex(4)
            return stream.state()

    def exactly(
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

    # ── calls carried out once ───────────────────────────────────────────────────────────────────────────────────────

    def claim(self, owner: str, key: str, target: str, *, seconds: float) -> Claim:
        with self._lock:
            present = timezone.now()
            found = self._attempt(owner, key)
            if found is None:
                found = Attempt(target=target, made=present, ends=present + timedelta(seconds=seconds))
                self._attempts[owner, key] = found
                if self.in_transaction():
                    membership = Membership()
                    found.transaction = weakref.ref(membership)
                    when_committed(partial(found.settle, membership), self.alias)
                return Claim(mine=True)
            if found.target != target:
                return Claim(reused=True)
            if found.answer is not None and found.transaction is None:
                return Claim(answer=found.answer)
            ended = found.transaction is None and found.ends <= present
            return Claim(lost=True) if ended else Claim(running=True)

    def answer(self, owner: str, key: str, answer: Answer) -> None:
        with self._lock:
            found = self._attempt(owner, key)
            if found is None:
                raise LogError(f"the call {key!r} of {owner!r} cannot be answered: it is not claimed")
            found.answer = answer

    def release(self, owner: str, key: str) -> None:
        with self._lock:
            found = self._attempt(owner, key)
            if found is not None and found.answer is None:
                del self._attempts[owner, key]

    def forget_answers(self, before: datetime) -> int:
        with self._lock:
            present = timezone.now()
            old = [
                key
                for key, found in self._attempts.items()
                if found.rolled_back()
                or (found.made < before and (found.answer is not None or found.ends <= present))
            ]
            for key in old:
                del self._attempts[key]
            return len(old)

    def _attempt(self, owner: str, key: str) -> Attempt | None:
        """The attempt that holds a key, unless its transaction rolled back."""
        found = self._attempts.get((owner, key))
        if found is not None and found.rolled_back():
            del self._attempts[owner, key]
            return None
        return found
