"""A log in Redis or Valkey streams, for topics that are too hot for a database, or for projects without one.

It keeps the order, the offsets and the stamps that every log promises. The docstring of :class:`RedisLog` lists the promises that
it does *not* make, as does ``docs/how-to/redis-log.md``. ``docs/architecture.md`` ("When Redis comes back") says what follows an outage.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.utils import timezone

from holdfast.protocol.positions import Position
from holdfast.redis.client import RedisStore, hash_tag

from .announcement import UNANNOUNCED, Announce
from .base import Batch, Diverged, Draft, Entry, Head, Log, LogUnavailable, Trimmed
from .calls import CallStore
from .epochs import first_epoch, new_epoch, new_seed
from .redis_errors import translate_errors
from .scripts import APPEND, HEAD, READ, ROTATE_EPOCH, TRIM
from .staged import StagingArea, listed
from .transactions import is_open

T = TypeVar("T")

logger = logging.getLogger("holdfast.log")

TRIES = 3
"""Attempts of :meth:`RedisLog.consistent_read` at a read during which nothing is written."""

CHUNK = 1000
"""Entries trimmed in one step. Redis does nothing else during it."""

TOPICS_AT_ONCE = 200
LISTED = 100_000
"""Topics that this process remembers as being in the list of topics."""


class RedisLog(Log):
    """Durable topics as Redis streams, under keys that begin with ``<prefix>:log:``.

    - **No transaction with the ORM.** What is published inside ``atomic()`` is appended when the transaction on ``alias``
      has committed. A process that dies between the two, or finds Redis away, loses the events; the error is logged
      with their topics. Nothing is appended for a rollback.
    - **As durable as Redis is.** What Redis loses (see its ``appendfsync``, and that replicas follow late) is lost here. A
      log that went back by that is noticed, as with every log; one that lost a topic's keys gives it a new epoch.
    - **A batch over several topics** is appended at once, but in a cluster topic by topic: an error may leave some out.
    - **A state with its position** (:meth:`consistent_read`) misses no event up to the position, and may show the effect of one that
      comes after it, which a subscriber then hears of all the same.

    With ``announce``, which the backplane in the same Redis gives, entries are written and published to the other processes
    in one step: a process that dies after the write has published too. Where publishing is refused the entries are written all the same, and
    the batch is not ``announced``.
    """

    staged_may_be_lost = True

    def __init__(
        self,
        store: RedisStore,
        *,
        calls: CallStore,
        alias: str = "default",
        announce: Announce | None = None,
    ) -> None:
        self.alias = alias
        self.calls = calls
        self._store = store
        self._announce = announce
        self._names = f"{store.prefix}:log:"
        self._listed: set[str] = set()
        self._staging = StagingArea(alias, self._append_committed)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def in_transaction(self) -> bool:
        return is_open(self.alias)

    def stage(self, drafts: Sequence[Draft], committed: Callable[[list[Batch]], None]) -> None:
        if drafts:
            self._staging.add(drafts, committed)

    def _append_committed(self, drafts: Sequence[Draft], committed: Callable[[list[Batch]], None]) -> None:
        try:
            batches = self.append(drafts)
        except LogUnavailable as error:
            logger.error(
                "%d events of %s are lost: their transaction has committed, but %s",
                len(drafts),
                listed({draft.topic for draft in drafts}),
                error,
            )
            return
        committed(batches)

    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        by_topic: dict[str, list[Draft]] = {}
        for draft in drafts:
            by_topic.setdefault(draft.topic, []).append(draft)
        if not by_topic:
            return []
        topics = sorted(by_topic)
        with translate_errors():
            first = self._list(topics)
            calls = [
                (self._keys(topic), self._written(topic, by_topic[topic], first.get(topic)))
                for topic in topics
            ]
            client = self._store.client()
            if len(calls) == 1 or self._store.clustered:
                answers = [APPEND.call(client, keys, *arguments) for keys, arguments in calls]
            else:
                answers = APPEND.call_together(client, calls)
            batches = [
                _batch(topic, by_topic[topic], answer) for topic, answer in zip(topics, answers, strict=True)
            ]
            self._list_again(
                [t for t, answer in zip(topics, answers, strict=True) if answer[4] and t not in first]
            )
        return batches

    def _written(self, topic: str, drafts: Sequence[Draft], epoch: str | None) -> list[Any]:
        how = UNANNOUNCED if self._announce is None else self._announce(topic)
        parts = (part for draft in drafts for part in (draft.name, draft.payload, draft.exclude))
        return [epoch or new_epoch(), *how, *parts]

    def sequence(self, topics: Iterable[str]) -> list[Batch]:
        return []  # entries get their offsets as they are written

    def sweep(self) -> list[Batch]:
        return []

    def _list(self, topics: Sequence[str]) -> dict[str, str]:
        """Put ``topics`` into the list of topics, before they are first written to. Return the first epochs of those that were not
        in it."""
        if not (unknown := [topic for topic in topics if topic not in self._listed]):
            return {}
        pipeline = self._store.client().pipeline(transaction=False)
        for topic in unknown:
            pipeline.sadd(f"{self._names}topics", topic)
        self._ask_for_seed(pipeline)
        *added, _, seed = pipeline.execute()
        self._remember(unknown)
        return {
            topic: first_epoch(seed.decode(), topic) for topic, new in zip(unknown, added, strict=True) if new
        }

    def _list_again(self, topics: Sequence[str]) -> None:
        """Put topics into the list that Redis has lost."""
        if topics:
            self._store.client().sadd(f"{self._names}topics", *topics)

    def _remember(self, topics: Iterable[str]) -> None:
        if len(self._listed) > LISTED:
            self._listed.clear()
        self._listed.update(topics)

    def _ask_for_seed(self, pipeline: Any) -> None:
        pipeline.set(f"{self._names}seed", new_seed(), nx=True)
        pipeline.get(f"{self._names}seed")

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def heads(self, topics: Collection[str]) -> Mapping[str, Head]:
        names = sorted(set(topics))
        with translate_errors():
            heads = self._unwritten([name for name in names if name not in self._listed])
            client, written = self._store.client(), [name for name in names if name not in heads]
            for start in range(0, len(written), TOPICS_AT_ONCE):
                some = written[start : start + TOPICS_AT_ONCE]
                calls = [(self._keys(topic), (new_epoch(),)) for topic in some]
                if self._store.clustered:
                    answers = [HEAD.call(client, keys, *arguments) for keys, arguments in calls]
                else:
                    answers = HEAD.call_together(client, calls)
                heads |= {topic: _head(answer) for topic, answer in zip(some, answers, strict=True)}
                self._list_again([t for t, answer in zip(some, answers, strict=True) if answer[5]])
        return heads

    def _unwritten(self, topics: Sequence[str]) -> dict[str, Head]:
        """Return the heads of those of ``topics`` that never had an entry, with one command for all."""
        if not topics:
            return {}
        pipeline = self._store.client().pipeline(transaction=False)
        pipeline.smismember(f"{self._names}topics", list(topics))
        self._ask_for_seed(pipeline)
        listed, _, seed = pipeline.execute()
        self._remember(topic for topic, known in zip(topics, listed, strict=True) if known)
        return {
            topic: Head(epoch=first_epoch(seed.decode(), topic), offset=0)
            for topic, known in zip(topics, listed, strict=True)
            if not known
        }

    def read(self, topic: str, after: Position, limit: int, size: int | None = None) -> list[Entry]:
        if not self._has(topic):
            head = self.heads([topic])[topic]
            if not self._has(topic):
                if after.epoch == head.epoch and not after.offset:
                    return []
                raise (Diverged if after.epoch == head.epoch else Trimmed)(topic, after.offset, head)
        with translate_errors():
            place = (after.epoch, after.offset, after.stamp, limit, "" if size is None else size)
            how, found = READ.call(self._store.client(), self._keys(topic), new_epoch(), *place)
        if how == b"entries":
            return [_entry(*entry) for entry in found]
        gone = Diverged if how == b"diverged" else Trimmed
        raise gone(topic, after.offset, _head(found))

    def rotate_epoch(self, topic: str, position: Position | None = None) -> Head:
        place = ("", 0, 0) if position is None else (position.epoch, position.offset, position.stamp)
        fresh = new_epoch()
        with translate_errors():
            head = self.heads([topic])[topic]
            if not self._has(topic):
                if position is not None and (position.epoch != head.epoch or not position.offset):
                    return head
                self._list([topic])
            head = _head(ROTATE_EPOCH.call(self._store.client(), self._keys(topic), fresh, *place))
        if head.epoch == fresh:
            logger.warning(
                "topic %r has a new epoch, because its log went back in time; its clients start again from the current state",
                topic,
            )
        return head

    def _has(self, topic: str) -> bool:
        """Return whether the topic is known to have been written to. Ask after :meth:`heads`."""
        return topic in self._listed

    def renew_first_epochs(self) -> None:
        with translate_errors():
            self._store.client().set(f"{self._names}seed", new_seed())

    def consistent_read(
        self, topic: str, take: Callable[[], T], numbered: Callable[[list[Batch]], None] | None = None
    ) -> tuple[Position, T]:
        before = self.heads([topic])[topic].position
        for _ in range(TRIES):
            value = take()
            after = self.heads([topic])[topic].position
            if before == after:
                return before, value
            before = after
        return before, take()  # it misses nothing up to there

    # ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def trim(
        self, topic: str, *, before: datetime | None = None, count: int | None = None, dry_run: bool = False
    ) -> int:
        keep = "" if count is None else max(count, 0)
        until = "" if before is None else _microseconds(before)
        gone = 0
        with translate_errors():
            if dry_run:
                return self._expendable(topic, keep, until)
            while True:
                some: int = TRIM.call(
                    self._store.client(), self._keys(topic), new_epoch(), keep, until, CHUNK
                )
                gone += some
                if some < CHUNK:
                    return gone

    def _expendable(self, topic: str, keep: int | str, until: int | str) -> int:
        client: Any = self._store.client()
        state, entries = self._keys(topic)
        floor, head = (int(value or 0) for value in client.hmget(state, "floor", "head"))
        upto = floor if isinstance(keep, str) else max(floor, head - keep)
        while isinstance(until, int):
            page = client.xrange(entries, f"{upto + 1}-0", "+", count=CHUNK)
            old = [place for place, fields in page if int(fields[b"t"]) < until]
            upto += len(old)
            if len(old) < CHUNK:
                break
        return upto - floor

    def topics(self) -> list[str]:
        with translate_errors():
            found: Any = self._store.client().sscan_iter(f"{self._names}topics", count=1000)
            return sorted({name.decode() for name in found})

    def _keys(self, topic: str) -> tuple[str, str]:
        state = self._names + hash_tag(topic)
        return state, f"{state}:entries"


def _batch(topic: str, drafts: Sequence[Draft], answer: Any) -> Batch:
    epoch, head, before, present, _, announced = answer
    stamp = _stamp(present)
    entries = tuple(
        Entry(offset=offset, name=draft.name, payload=draft.payload, exclude=draft.exclude, stamp=stamp)
        for offset, draft in enumerate(drafts, head + 1)
    )
    return Batch(
        topic=topic,
        epoch=epoch.decode(),
        entries=entries,
        before=_stamp(before),
        announced=announced == 1,
    )


def _entry(place: bytes, fields: list[bytes]) -> Entry:
    _, name, _, payload, _, exclude, _, written = fields
    return Entry(
        offset=int(place.partition(b"-")[0]),
        name=name.decode(),
        payload=payload,
        exclude=exclude.decode(),
        stamp=_stamp(written),
    )


def _head(answer: Any) -> Head:
    epoch, head, floor, written = answer[:4]
    return Head(epoch=epoch.decode(), offset=head, floor=floor, stamp=_stamp(written))


def _stamp(written: bytes) -> int:
    return int(written) % 2**32


def _microseconds(moment: datetime) -> int:
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return round(aware.astimezone(UTC).timestamp() * 1_000_000)
