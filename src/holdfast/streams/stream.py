"""One topic in this process: its subscriptions, and up to where its events were emitted to them."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.log.base import Batch, Entry, Head
from holdfast.metrics import Counters
from holdfast.protocol.frames import ResetFrame, ResetPayload
from holdfast.protocol.positions import Position

from .conflation import Conflation, Ticks
from .prepared import Burst, Passing, Prepared, Reader
from .recent import RecentEvents, ReplayMemory
from .slow import Backlog, Slow
from .subscriber import Subscriber

logger = logging.getLogger("holdfast.hub")

CHUNK_BYTES = 64 * 1024
"""Bytes written to a connection at once, give or take one event."""

PROMPT_BYTES = 16 * 1024
"""The same limit on topics that conflate: smaller, because a written event can no longer be replaced."""


class Mark(NamedTuple):
    """Where a stream stood at some moment. ``generation`` counts how often it has begun (again)."""

    generation: int
    position: Position

    @property
    def offset(self) -> int:
        return self.position.offset

    def contradicted_by(self, head: Head) -> bool:
        """Is this head, of the same epoch, before the mark, or another entry in its place? Then the log went back."""
        seen = self.position
        if head.epoch != seen.epoch or head.offset > seen.offset:
            return False
        return head.offset < seen.offset or bool(head.stamp and seen.stamp and head.stamp != seen.stamp)


class Subscription:
    """One subscriber's place in one stream.

    Either ``live`` (its offset is the stream's), or catching up: then everything up to ``offset`` has been written, and
    ``stamp`` is that of the entry there. On a topic without a log, ``backlog`` holds the events that wait for a subscriber
    that is not ready.
    """

    __slots__ = ("backlog", "ended", "live", "offset", "stamp", "stream", "subscriber")

    def __init__(self, stream: "Stream", subscriber: Subscriber, offset: int, stamp: int = 0) -> None:
        self.stream = stream
        self.subscriber = subscriber
        self.offset = offset
        self.stamp = stamp
        self.live = False
        self.ended = False
        self.backlog: Backlog | None = None

    @property
    def position(self) -> Position:
        return Position(epoch=self.stream.epoch, offset=self.offset, stamp=self.stamp)

    def write(self, burst: Burst) -> None:
        """Write a burst, unless it is empty."""
        if burst.events:
            self.subscriber.write(burst)

    def fail(self, burst: Burst, error: Exception) -> None:
        """End the subscription and its connection: these events could not be written, and none may follow them."""
        logger.error(
            "%r could not be written to %r; ending the connection", burst, self.subscriber, exc_info=error
        )
        self._end()
        self.subscriber.fail()

    def hold(self, events: Iterable[Prepared]) -> None:
        """Let events wait until the subscriber is ready, as the topic has it (:mod:`holdfast.streams.slow`)."""
        stream, client = self.stream, self.subscriber.client
        backlog = self.backlog
        if backlog is None:
            backlog = self.backlog = Backlog(stream.slow, stream.counters)
        for event in events:
            if (not event.exclude or event.exclude != client) and not backlog.add(event):
                stream.counters.connections_overflowed += 1
                self._end()
                self.subscriber.overflow()
                return

    def release(self) -> None:
        """Write the events that wait, as far as the subscriber takes them."""
        backlog, conflates = self.backlog, self.stream.slow.conflates
        while backlog and self.subscriber.ready and not (conflates and self.subscriber.blocked):
            burst = backlog.take(PROMPT_BYTES if conflates else CHUNK_BYTES)
            self.stream.counters.events_delivered += len(burst.events)
            try:
                self.subscriber.write(burst)
            except Exception as error:  # noqa: BLE001 - it is handed on
                self.fail(burst, error)
                return
        if not backlog:
            self.backlog = None

    def _end(self) -> None:
        self.ended = True
        self.backlog = None
        self.stream.fall_behind(self, self.offset, self.stamp)


class LogProgress:
    """What is known of a stream's log beyond what the stream has emitted.

    It belongs to :class:`~holdfast.streams.log_follower.LogFollower`. Nothing else changes it, except that the stream
    empties it when it begins again, and forgets a subscription that ends.
    """

    __slots__ = ("ahead", "doubted", "examining", "filling", "held", "held_bytes", "wanted")

    def __init__(self) -> None:
        self.wanted = 0  # the log is known to reach this far
        self.held: dict[int, Batch] = {}  # batches beyond a gap, by their first offset
        self.held_bytes = 0  # of their payloads
        # Those that know of entries that the stream has not emitted yet.
        self.ahead: set[Subscription] = set()
        self.filling = False  # the log is being read, or soon will be, for what is missing
        self.examining = False  # the log is being asked for its epoch
        self.doubted: Position | None = None  # an emitted position that the log may not hold any more

    def begin(self, offset: int) -> None:
        """The stream begins (again), at this offset."""
        self.wanted = offset
        self.held.clear()
        self.held_bytes = 0
        self.ahead.clear()
        self.doubted = None


class Stream:
    """The state of a topic in the hub. The rules of order are in :class:`~holdfast.streams.log_follower.LogFollower`.

    ``offset`` is the last one emitted to the live subscriptions, and ``stamp`` that of the entry there. ``epoch`` is ``""``
    for a topic without a log. The hub owns ``visitors`` and ``idle_since``, the log follower ``progress``.
    """

    def __init__(
        self,
        name: str,
        slow: Slow,
        counters: Counters,
        ticks: Ticks,
        memory: ReplayMemory,
        reader: Reader | None = None,
    ) -> None:
        self.name = name
        self._reader = reader
        self.slow = slow
        self.counters = counters
        self._conflation = Conflation(name, slow, counters, ticks, self.emit) if slow.rate else None
        self.epoch = ""
        self.offset = 0
        self.stamp = 0
        self.generation = 0
        self.closed = False
        self.subscriptions: dict[Subscription, None] = {}
        self.live: dict[Subscription, None] = {}  # a dict takes less room than a set
        self.recent = RecentEvents(memory)
        self.progress = LogProgress()
        self.visitors = 0  # joins under way
        self.idle_since: float | None = None  # when the hub last found it without subscriptions and visitors
        self._audience: tuple[Subscription, ...] | None = None
        self._emitted: list[Prepared] = []  # to be written at the end of this turn of the loop
        self._emitted_bytes = 0
        self._flushed = (0, 0)  # offset and stamp up to which the live subscriptions were written to

    @property
    def durable(self) -> bool:
        return bool(self.epoch)

    @property
    def position(self) -> Position:
        return Position(epoch=self.epoch, offset=self.offset, stamp=self.stamp)

    @property
    def mark(self) -> Mark:
        return Mark(self.generation, self.position)

    def begin(self, head: Head) -> None:
        """Start (again) at the log's head: forget what was read, and what was held back."""
        self.flush()
        self.epoch, self.offset, self.stamp = head.epoch, head.offset, head.stamp
        self._flushed = (head.offset, head.stamp)
        self.generation += 1
        self.progress.begin(head.offset)
        self.recent.clear()

    def reset(self, reason: str) -> ResetFrame:
        """The message that says where the stream goes on, and why not where it was."""
        if not self.durable:
            return ResetFrame(topic=self.name, payload=ResetPayload(reason="interrupted"))
        payload = ResetPayload(
            reason=reason,  # type: ignore[arg-type]
            epoch=self.epoch,
            offset=self.offset,
            stamp=self.stamp,
        )
        return ResetFrame(topic=self.name, payload=payload)

    # ── subscriptions ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def audience(self) -> tuple[Subscription, ...]:
        """The live subscriptions, as a tuple that does not change during an iteration."""
        if self._audience is None:
            self._audience = tuple(self.live)
        return self._audience

    def add(self, subscription: Subscription) -> None:
        self.subscriptions[subscription] = None

    def go_live(self, subscription: Subscription) -> None:
        """Let the subscription get what is emitted from now on. It has had what was emitted before."""
        self.flush()
        subscription.live = True
        self.live[subscription] = None
        self._audience = None

    def fall_behind(self, subscription: Subscription, offset: int, stamp: int) -> None:
        """Serve the subscription from the log from now on, after ``offset``."""
        subscription.live = False
        subscription.offset, subscription.stamp = offset, stamp
        self.live.pop(subscription, None)
        self._audience = None

    def remove(self, subscription: Subscription) -> None:
        subscription.ended = True
        subscription.backlog = None
        self.fall_behind(subscription, subscription.offset, subscription.stamp)
        self.progress.ahead.discard(subscription)
        self.subscriptions.pop(subscription, None)

    # ── emitting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def emit_ephemeral(self, events: Sequence[Prepared]) -> None:
        """Emit events that are in no log, as often as the topic's ``rate`` allows."""
        if self._conflation is not None:
            events = self._conflation.take(events)
        if events:
            self.emit(events)

    def emit(self, events: Sequence[Prepared]) -> None:
        """Emit these events, the next in order or in no log, to the live subscriptions.

        They are written at the end of this turn of the loop, with all others that are emitted in it: joined once, and then
        with one write for each connection. No subscriber waits for that longer than for the turn.
        """
        if not self._emitted:
            asyncio.get_running_loop().call_soon(self.flush)
        for event in events:
            self._emitted.append(event)
            self._emitted_bytes += len(event.payload)
            if self._emitted_bytes >= CHUNK_BYTES:
                self.flush()  # so that a subscriber that cannot follow is noticed in time

    def flush(self) -> None:
        """Write what was emitted in this turn so far. Call it before anything that depends on who got what."""
        if not self._emitted:
            return
        events, self._emitted, self._emitted_bytes = self._emitted, [], 0
        flushed, ephemeral = self._flushed, 0
        if self.epoch:
            logged = [event for event in events if event.offset is not None]
            ephemeral = len(events) - len(logged)
            if logged:
                self._flushed = (logged[-1].offset or 0, logged[-1].stamp)
            if ephemeral:
                self.counters.events_dropped += ephemeral * (len(self.subscriptions) - len(self.live))
        burst = Burst(events)
        excluded = {event.exclude for event in events if event.exclude}
        conflates = self.slow.conflates
        audience, missed = self.audience, 0
        for subscription in audience:
            if not subscription.live:
                missed += 1
                continue
            subscriber = subscription.subscriber
            if not subscriber.ready or (conflates and subscriber.blocked):
                missed += 1
                if self.durable:
                    self.fall_behind(subscription, *flushed)
                    self.counters.subscribers_fell_behind += 1
                    self.counters.events_dropped += ephemeral
                else:
                    subscription.hold(events)
                continue
            try:
                if excluded and subscriber.client in excluded:
                    subscription.write(burst.without(subscriber.client))
                else:
                    subscriber.write(burst)
            except Exception as error:  # noqa: BLE001 - one subscriber's error must not cost the others the events
                subscription.fail(burst, error)
        self.counters.events_delivered += len(events) * (len(audience) - missed)

    # ── entries and stamps ───────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, entries: Iterable[Entry]) -> list[Prepared]:
        reader = self._reader
        if reader is None:
            return [Prepared(self.name, e.name, e.payload, e.offset, e.exclude, e.stamp) for e in entries]
        return [
            Prepared(self.name, *reader.read(e.name, e.payload), e.offset, e.exclude, e.stamp)
            for e in entries
        ]

    def prepare_passing(self, events: Iterable[Passing]) -> list[Prepared]:
        """Prepare events that are in no log."""
        reader = self._reader
        if reader is None:
            return [Prepared(self.name, e.name, e.payload, exclude=e.exclude) for e in events]
        return [Prepared(self.name, *reader.read(e.name, e.payload), exclude=e.exclude) for e in events]

    def stamp_at(self, offset: int) -> int:
        """The stamp of the entry that was emitted with this offset, or 0 if it is not at hand."""
        if offset == self.offset:
            return self.stamp
        return self.recent.stamp_at(offset)

    def contradicts(self, offset: int, stamp: int) -> bool:
        """Was another entry emitted with this offset than the one with this stamp?"""
        known = self.stamp_at(offset)
        return bool(known and stamp and known != stamp)

    def contradicted_by(self, batch: Batch) -> bool:
        """Does this batch, of the same epoch, follow or repeat another entry than the one that was emitted?"""
        first = batch.entries[0].offset
        if self.contradicts(first - 1, batch.before):
            return True
        if self.offset < first:
            return False
        entry = batch.entries[min(self.offset - first, len(batch.entries) - 1)]  # the last that was emitted
        return self.contradicts(entry.offset, entry.stamp)

    def close(self) -> None:
        """End every subscription, and drop the events that wait: the stream is not part of its hub any more."""
        self.closed = True
        self.recent.clear()
        if self._conflation is not None:
            self._conflation.close()
        for subscription in tuple(self.subscriptions):
            subscription.ended = True
            subscription.backlog = None
            self.fall_behind(subscription, subscription.offset, subscription.stamp)
