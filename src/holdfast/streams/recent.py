"""Events of one stream that are at hand: the newest ones, and pages that were read from the log."""

from collections import OrderedDict
from collections.abc import Sequence

from .prepared import Burst, Prepared

RECENT_EVENTS = 256
RECENT_BYTES = 256 * 1024
PAGES = 16

PAGE = 200
"""Entries in one page of the log."""


class RecentEvents:
    """The newest events that a stream has emitted, without a hole, and the latest pages and bursts made for replays."""

    __slots__ = ("_bursts", "_bytes", "_events", "_pages")

    def __init__(self) -> None:
        self._events: list[Prepared] = []
        self._bytes = 0
        self._pages: OrderedDict[tuple[int, int], list[Prepared]] = OrderedDict()
        self._bursts: OrderedDict[tuple[int, int], Burst] = OrderedDict()

    def clear(self) -> None:
        self._events.clear()
        self._bytes = 0
        self._pages.clear()
        self._bursts.clear()

    def add(self, events: Sequence[Prepared]) -> None:
        """Keep the newest events, which follow the ones already kept, for subscriptions that are a little behind."""
        recent = self._events
        recent.extend(events)
        self._bytes += sum(len(event.payload) for event in events)
        if len(recent) <= 2 * RECENT_EVENTS and self._bytes <= 2 * RECENT_BYTES:
            return
        drop = max(len(recent) - RECENT_EVENTS, 0)
        self._bytes -= sum(len(event.payload) for event in recent[:drop])
        while drop < len(recent) and self._bytes > RECENT_BYTES:
            self._bytes -= len(recent[drop].payload)
            drop += 1
        del recent[:drop]

    def stamp_at(self, offset: int) -> int:
        """The stamp of the entry that was emitted with this offset, or 0 if it is not at hand."""
        recent = self._events
        first = recent[0].offset if recent else None
        return recent[offset - first].stamp if first is not None and 0 <= offset - first < len(recent) else 0

    def keep_page(self, after: int, stamp: int, page: list[Prepared]) -> None:
        """Keep what was read from the log after an entry, for other subscriptions that stand at the same place."""
        self._pages[after, stamp] = page
        if len(self._pages) > PAGES:
            self._pages.popitem(last=False)

    def after(self, offset: int, stamp: int) -> list[Prepared] | None:
        """Events after the entry with this offset and stamp that are at hand, in order and without a hole, at most
        :data:`PAGE`. ``None`` if the log must be read."""
        recent = self._events
        if recent:
            first = recent[0].offset
            assert first is not None
            if offset + 1 >= first and (not stamp or self.stamp_at(offset) == stamp):
                start = offset + 1 - first
                return recent[start : start + PAGE]
        return self._pages.get((offset, stamp))

    def burst(self, page: Sequence[Prepared]) -> Burst:
        """Neighbouring events of the log as one burst, the same one for all subscriptions that need just these."""
        first, last = page[0].offset, page[-1].offset
        assert first is not None
        assert last is not None
        burst = self._bursts.get((first, last))
        if burst is None:
            burst = self._bursts[first, last] = Burst(page)
            if len(self._bursts) > PAGES:
                self._bursts.popitem(last=False)
        return burst
