"""One topic as this process sees it: who listens, and up to where it was passed on."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.log.base import Batch, Entry, Head
from holdfast.metrics import Counters
from holdfast.protocol.positions import Position

from .conflation import Conflation, Ticks
from .outlet import Outlet
from .prepared import Burst, Prepared
from .slow import Backlog, Slow

logger = logging.getLogger("holdfast.hub")

RECENT_EVENTS = 256
RECENT_BYTES = 256 * 1024
PAGES = 16
CHUNK_BYTES = 64 * 1024
"""How much is written to a connection at once, give or take one event."""
PROMPT_BYTES = 16 * 1024
"""The same where events can still be replaced as long as they are not written."""


class Mark(NamedTuple):
    """Where a stream stood at some moment. ``generation`` counts how often it has begun (again)."""

    generation: int
    position: Position

    @property
    def offset(self) -> int:
        return self.position.offset


class Subscription:
    """One outlet's place in one stream.

    Either ``live`` (its offset is the stream's), or catching up: then everything up to ``offset`` has been written, and
    ``stamp`` is that of the entry there. ``backlog`` is what waits, on a topic without a log, for an outlet that is not
    ready.
    """

    __slots__ = ("backlog", "ended", "live", "offset", "outlet", "stamp", "stream")

    def __init__(self, stream: "Stream", outlet: Outlet, offset: int, stamp: int = 0) -> None:
        self.stream = stream
        self.outlet = outlet
        self.offset = offset
        self.stamp = stamp
        self.live = False
        self.ended = False
        self.backlog: Backlog | None = None

    @property
    def position(self) -> Position:
        return Position(epoch=self.stream.epoch, offset=self.offset, stamp=self.stamp)

    def write(self, burst: Burst) -> None:
        """Write what there is, if there is anything."""
        if burst.events:
            self.outlet.write(burst)

    def fail(self, burst: Burst, error: Exception) -> None:
        """The events could not be written. Nothing may follow them, so that they are not missed."""
        logger.error("%r could not be written to %r", burst, self.outlet, exc_info=error)
        self._end()
        self.outlet.fail()

    def hold(self, events: Iterable[Prepared]) -> None:
        """Let events wait until the outlet is ready, as the topic has it (:mod:`holdfast.hub.slow`)."""
        stream, client = self.stream, self.outlet.client
        backlog = self.backlog
        if backlog is None:
            backlog = self.backlog = Backlog(stream.slow, stream.counters)
        for event in events:
            if (not event.exclude or event.exclude != client) and not backlog.add(event):
                stream.counters.connections_overflowed += 1
                self._end()
                self.outlet.stall()
                return

    def release(self) -> None:
        """Write what has waited, as far as the outlet takes it."""
        backlog, conflates = self.backlog, self.stream.slow.conflates
        while backlog and self.outlet.ready and not (conflates and self.outlet.blocked):
            burst = backlog.take(PROMPT_BYTES if conflates else CHUNK_BYTES)
            self.stream.counters.events_delivered += len(burst.events)
            try:
                self.outlet.write(burst)
            except Exception as error:  # noqa: BLE001 - it is handed on
                self.fail(burst, error)
                return
        if not backlog:
            self.backlog = None

    def _end(self) -> None:
        self.ended = True
        self.backlog = None
        self.stream.fall_behind(self, self.offset, self.stamp)


class Stream:
    """The state of a topic in the hub; the rules are in :class:`~holdfast.hub.order.Order`.

    ``offset`` is the last one passed on to the live subscribers, and ``stamp`` that of the entry there. ``epoch`` is
    ``""`` for a topic without a log.
    """

    def __init__(self, name: str, slow: Slow, counters: Counters, ticks: Ticks) -> None:
        self.name = name
        self.slow = slow
        self.counters = counters
        self._conflation = Conflation(name, slow, counters, ticks, self.say) if slow.rate else None
        self.epoch = ""
        self.offset = 0
        self.stamp = 0
        self.generation = 0
        self.closed = False
        self.subscriptions: dict[Subscription, None] = {}
        self.live: dict[Subscription, None] = {}  # a dict takes less room than a set
        self.ahead: set[Subscription] = set()  # those that know of entries that were not passed on here yet
        self.held: dict[int, Batch] = {}  # batches beyond a gap, by their first offset
        self.wanted = 0  # the log is known to reach this far
        self.filling = False  # the log is being read, or soon will be, for what is missing
        self.examining = False  # the log is being asked for its epoch
        self.doubted: Position | None = None  # where something says that the log is not the one that was
        self.visitors = 0  # joins under way
        self.idle_since: float | None = None
        self._audience: tuple[Subscription, ...] | None = None
        self._said: list[Prepared] = []  # what is to be written at the end of this turn of the loop
        self._said_bytes = 0
        self._told = (0, 0)  # offset and stamp, up to where the live subscriptions have been told
        self._bursts: OrderedDict[tuple[int, int], Burst] = OrderedDict()
        self._recent: list[Prepared] = []
        self._recent_bytes = 0
        self._pages: OrderedDict[tuple[int, int], list[Prepared]] = OrderedDict()

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
        self.settle()
        self.epoch, self.offset, self.stamp = head.epoch, head.offset, head.stamp
        self._told = (head.offset, head.stamp)
        self.generation += 1
        self.doubted = None
        self.wanted = head.offset
        self.ahead.clear()
        self.held.clear()
        self._recent.clear()
        self._recent_bytes = 0
        self._pages.clear()
        self._bursts.clear()

    # ── who listens ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def audience(self) -> tuple[Subscription, ...]:
        """The live subscriptions, as something that does not change while it is walked through."""
        if self._audience is None:
            self._audience = tuple(self.live)
        return self._audience

    def add(self, subscription: Subscription) -> None:
        self.subscriptions[subscription] = None

    def rest(self, now: float) -> None:
        """Note since when nobody has been here."""
        self.idle_since = None if self.subscriptions or self.visitors else now

    def go_live(self, subscription: Subscription) -> None:
        """From now on the subscription hears what the stream says. What was said before it has had already."""
        self.settle()
        subscription.live = True
        self.live[subscription] = None
        self._audience = None

    def fall_behind(self, subscription: Subscription, offset: int, stamp: int) -> None:
        """From now on the subscription is served from the log, after ``offset``."""
        subscription.live = False
        subscription.offset, subscription.stamp = offset, stamp
        self.live.pop(subscription, None)
        self._audience = None

    def remove(self, subscription: Subscription, now: float) -> None:
        subscription.ended = True
        subscription.backlog = None
        self.fall_behind(subscription, subscription.offset, subscription.stamp)
        self.ahead.discard(subscription)
        self.subscriptions.pop(subscription, None)
        self.rest(now)

    # ── what is said now ─────────────────────────────────────────────────────────────────────────────────────────────

    def pass_on(self, events: Sequence[Prepared]) -> None:
        """Let the live subscriptions hear events that are in no log, as often as the topic's ``rate`` lets them."""
        if self._conflation is not None:
            events = self._conflation.take(events)
        if events:
            self.say(events)

    def say(self, events: Sequence[Prepared]) -> None:
        """Let everybody who is live hear these events, the next in order, or in no log.

        They are written at the end of this turn of the loop, with all else that is said in it: joined once, and then
        with one write for each connection. Nobody waits for that longer than for the turn.
        """
        if not self._said:
            asyncio.get_running_loop().call_soon(self.settle)
        for event in events:
            self._said.append(event)
            self._said_bytes += len(event.payload)
            if self._said_bytes >= CHUNK_BYTES:
                self.settle()  # so that whoever cannot follow is noticed in time

    def settle(self) -> None:
        """Write what was said in this turn so far. To be called before anything that depends on who has heard what."""
        if not self._said:
            return
        events, self._said, self._said_bytes = self._said, [], 0
        told = self._told
        self._told = next(((e.offset, e.stamp) for e in reversed(events) if e.offset is not None), told)
        burst = Burst(events)
        excluded = {event.exclude for event in events if event.exclude}
        passing = sum(event.offset is None for event in events) if self.durable else 0
        self.counters.events_dropped += passing * (len(self.subscriptions) - len(self.live))
        conflates = self.slow.conflates
        audience = self.audience
        missed = 0
        for subscription in audience:
            if not subscription.live:
                missed += 1
                continue
            outlet = subscription.outlet
            if not outlet.ready or (conflates and outlet.blocked):
                missed += 1
                if self.durable:
                    self.fall_behind(subscription, *told)
                    self.counters.subscribers_fell_behind += 1
                    self.counters.events_dropped += passing
                else:
                    subscription.hold(events)
                continue
            try:
                if excluded and outlet.client in excluded:
                    subscription.write(burst.without(outlet.client))
                else:
                    outlet.write(burst)
            except Exception as error:  # noqa: BLE001 - of this outlet: the others shall hear the events
                subscription.fail(burst, error)
        self.counters.events_delivered += len(events) * (len(audience) - missed)

    # ── what was said ────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, entries: Iterable[Entry]) -> list[Prepared]:
        return [Prepared(self.name, e.name, e.payload, e.offset, e.exclude, e.stamp) for e in entries]

    def remember(self, events: Sequence[Prepared]) -> None:
        """Keep the newest events, which follow the ones already kept, for subscribers that are a little behind."""
        recent = self._recent
        recent.extend(events)
        self._recent_bytes += sum(len(event.payload) for event in events)
        if len(recent) <= 2 * RECENT_EVENTS and self._recent_bytes <= 2 * RECENT_BYTES:
            return
        drop = max(len(recent) - RECENT_EVENTS, 0)
        self._recent_bytes -= sum(len(event.payload) for event in recent[:drop])
        while drop < len(recent) and self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= len(recent[drop].payload)
            drop += 1
        del recent[:drop]

    def stamp_at(self, offset: int) -> int:
        """The stamp of the entry that was passed on with this offset, or 0 if it is not at hand."""
        if offset == self.offset:
            return self.stamp
        recent = self._recent
        first = recent[0].offset if recent else None
        return recent[offset - first].stamp if first is not None and first <= offset < self.offset else 0

    def contradicts(self, offset: int, stamp: int) -> bool:
        """Was another entry passed on with this offset than the one with this stamp?"""
        known = self.stamp_at(offset)
        return bool(known and stamp and known != stamp)

    def keep_page(self, after: int, stamp: int, page: list[Prepared]) -> None:
        """Keep what was read from the log after an entry, for others who stand at the same place."""
        self._pages[after, stamp] = page
        if len(self._pages) > PAGES:
            self._pages.popitem(last=False)

    def page_after(self, offset: int, stamp: int, limit: int) -> list[Prepared] | None:
        """Events after the entry with this offset and stamp that are at hand, in order and without a hole; ``None`` if
        the log must be read."""
        recent = self._recent
        if recent:
            first = recent[0].offset
            assert first is not None
            if offset + 1 >= first and (not stamp or self.stamp_at(offset) == stamp):
                start = offset + 1 - first
                return recent[start : start + limit]
        return self._pages.get((offset, stamp))

    def burst(self, page: Sequence[Prepared]) -> Burst:
        """Neighbouring events of the log as one burst, the same one for everybody who needs just these."""
        first, last = page[0].offset, page[-1].offset
        assert first is not None
        assert last is not None
        burst = self._bursts.get((first, last))
        if burst is None:
            burst = self._bursts[first, last] = Burst(page)
            if len(self._bursts) > PAGES:
                self._bursts.popitem(last=False)
        return burst

    def close(self) -> None:
        """The stream is not part of its hub any more: whatever is still under way for it ends."""
        self.closed = True
        if self._conflation is not None:
            self._conflation.close()
        for subscription in tuple(self.subscriptions):
            subscription.ended = True
            subscription.backlog = None
            self.fall_behind(subscription, subscription.offset, subscription.stamp)
