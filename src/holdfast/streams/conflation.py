"""Conflation of a topic's events for all its subscribers in this process: at most one event of each key per interval.

It happens once per process, before events are written to any connection. So it costs the same for one subscriber and for
thousands.
"""

import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections import OrderedDict
from collections.abc import Callable, Iterable

from holdfast.metrics import Counters

from .prepared import Prepared
from .slow import Slow, size_of

logger = logging.getLogger("holdfast.hub")

MOST_KEYS = 10_000
"""Keys of one topic that are limited at the same time. Events of further keys pass at once."""

HELD_BYTES = 4 * 1024 * 1024
"""Bytes of one topic's events that wait, counted as :data:`~holdfast.streams.slow.EVENT_BYTES` says. Beyond it, the event
that has waited longest is written early."""

TOLERANCE = 0.002
"""Seconds by which a timer may fire early. uvloop's clock counts milliseconds."""


class Ticks:
    """One timer for each length of interval, shared by all conflations of a hub that use it. It runs only while one of
    them needs it."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[float, TimerHandle] = {}
        self._waiting: dict[float, dict[Conflation, None]] = {}

    def time(self) -> float:
        return self._loop.time()

    def add(self, conflation: "Conflation") -> None:
        """Call ``conflation.tick`` once per interval until it returns ``False``. The first time is at most one interval
        from now."""
        seconds = conflation.seconds
        self._waiting.setdefault(seconds, {})[conflation] = None
        if seconds not in self._timers:
            self._timers[seconds] = self._loop.call_later(seconds, self._tick, seconds)

    def remove(self, conflation: "Conflation") -> None:
        seconds = conflation.seconds
        waiting = self._waiting.get(seconds, {})
        waiting.pop(conflation, None)
        if not waiting:
            self._forget(seconds)

    def _tick(self, seconds: float) -> None:
        del self._timers[seconds]
        waiting, now = self._waiting[seconds], self._loop.time()
        for conflation in tuple(waiting):
            try:
                goes_on = conflation.tick(now)
            except Exception:
                logger.exception(
                    "conflated events of topic %r could not be written; they are lost", conflation.topic
                )
                goes_on = False
            if not goes_on:
                waiting.pop(conflation, None)
        if waiting:
            self._timers[seconds] = self._loop.call_later(seconds, self._tick, seconds)
        else:
            self._forget(seconds)

    def _forget(self, seconds: float) -> None:
        self._waiting.pop(seconds, None)
        timer = self._timers.pop(seconds, None)
        if timer is not None:
            timer.cancel()


class Conflation:
    """At most one event of each key per interval, as ``slow.rate`` says.

    The first event of a key passes at once. Later ones within the interval wait, and a newer event replaces the one that
    waits. When the interval has passed, the waiting event is written, together with those of all other keys whose interval
    has passed too. So two events of one key are never less than an interval apart, the last one always
    arrives, and it arrives at most two intervals after it was published. Events of one key keep their order; events of
    different keys may overtake each other. An event without a key passes at once.
    """

    __slots__ = ("_at", "_bytes", "_counters", "_emit", "_held", "_key_of", "_ticks", "seconds", "topic")

    def __init__(
        self, topic: str, slow: Slow, counters: Counters, ticks: Ticks, emit: Callable[[list[Prepared]], None]
    ) -> None:
        assert slow.rate is not None
        self.topic = topic
        self.seconds = slow.rate.seconds / slow.rate.count
        self._key_of = slow.key_of
        self._counters = counters
        self._ticks = ticks
        self._emit = emit
        self._at: dict[tuple[str, ...], float] = {}  # when the last event of a key was written
        self._held: OrderedDict[tuple[str, ...], Prepared] = OrderedDict()
        self._bytes = 0

    def take(self, events: Iterable[Prepared]) -> list[Prepared]:
        """Return the events that may be written now, and let the others wait."""
        now = self._ticks.time()
        passing: list[Prepared] = []
        for event in events:
            key = event.form(self._key_of)
            if key is None or self._passes(key, now):
                passing.append(event)
                continue
            replaced = self._held.pop(key, None)
            if replaced is not None:
                self._bytes -= size_of(replaced)
                self._counters.events_superseded += 1
            self._held[key] = event  # at the end, so that the order stays that of publishing
            self._bytes += size_of(event)
            while self._bytes > HELD_BYTES:
                passing.append(self._release(next(iter(self._held)), now))
        return passing

    def _passes(self, key: tuple[str, ...], now: float) -> bool:
        if key in self._held:
            return False  # the waiting event is older, and must not follow
        last = self._at.get(key)
        if last is not None and now - last < self.seconds - TOLERANCE:
            return False
        if last is not None or len(self._at) < MOST_KEYS:
            if not self._at:
                self._ticks.add(self)
            self._at[key] = now
        return True

    def _release(self, key: tuple[str, ...], now: float) -> Prepared:
        event = self._held.pop(key)
        self._bytes -= size_of(event)
        self._at[key] = now
        return event

    def tick(self, now: float) -> bool:
        """Write the events that have waited long enough. Return whether there can be more to do."""
        since = now - self.seconds + TOLERANCE
        due = [key for key in self._held if self._at[key] <= since]
        events = [self._release(key, now) for key in due]
        self._at = {key: at for key, at in self._at.items() if at > since}
        if events:
            self._emit(events)
        return bool(self._at)

    def close(self) -> None:
        """Drop the events that wait. The stream has no subscribers any more."""
        self._held.clear()
        self._at.clear()
        self._bytes = 0
        self._ticks.remove(self)
