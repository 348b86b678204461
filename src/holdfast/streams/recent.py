"""Events of streams that are at hand: the newest ones, and pages that were read from the log.

Nothing here is needed for correctness: what is not at hand is read from the log. So memory is bounded by bytes, for each stream and
over all streams of a hub (:class:`ReplayMemory`).
"""

from collections import OrderedDict
from collections.abc import Sequence

from .prepared import Burst, Prepared

RECENT_EVENTS = 256
RECENT_BYTES = 256 * 1024
"""Newest events of one stream, and bytes of their payloads. Twice as much may gather before the older half is dropped."""

PAGES = 16
PAGES_BYTES = 2 * 1024 * 1024
"""Pages of one stream, and their weight. The latest page stays in any case, while clients are served from it."""

PAGE = 200
PAGE_BYTES = 256 * 1024
"""Entries in one page of the log, and bytes of their payloads: a page ends with the entry that reaches either."""

REPLAY_BYTES = 64 * 1024 * 1024
"""Weight of what all streams of one hub keep."""

EVENT_WEIGHT = 512
COPIES = 3
"""An event weighs so many bytes and so many times its payload: it is kept as payload, as message, and as a transport's frame."""


def weight_of(events: Sequence[Prepared]) -> int:
    """The bytes that kept events take, about."""
    return EVENT_WEIGHT * len(events) + COPIES * sum([len(event.payload) for event in events])


class ReplayMemory:
    """Events that the streams of one hub keep for replays, all together. Beyond ``limit`` bytes, streams lose what they keep: first
    the stream that was published to or read least recently."""

    __slots__ = ("_limit", "_used", "weight")

    def __init__(self, limit: int = REPLAY_BYTES) -> None:
        self._limit = limit
        self._used: OrderedDict[RecentEvents, None] = OrderedDict()
        self.weight = 0

    def use(self, recent: "RecentEvents", change: int) -> None:
        """Note that a stream's events are in use, and that they weigh so much more than before."""
        self.weight += change
        self._used[recent] = None
        self._used.move_to_end(recent)
        while self.weight > self._limit and len(self._used) > 1:
            next(iter(self._used)).clear()

    def forget(self, recent: "RecentEvents", weight: int) -> None:
        """Note that a stream keeps nothing any more; it weighed so much."""
        self.weight -= weight
        self._used.pop(recent, None)


class RecentEvents:
    """The newest events that a stream has emitted, without a hole, and the latest pages and bursts made for replays."""

    __slots__ = ("_bursts", "_events", "_memory", "_page_weight", "_pages", "_weight")

    def __init__(self, memory: ReplayMemory) -> None:
        self._memory = memory
        self._events: list[Prepared] = []
        self._weight = 0  # of the events
        self._page_weight = 0  # of pages and bursts
        self._pages: OrderedDict[tuple[int, int], list[Prepared]] = OrderedDict()
        self._bursts: OrderedDict[tuple[int, int], Burst] = OrderedDict()

    def clear(self) -> None:
        self._memory.forget(self, self._weight + self._page_weight)
        self._events.clear()
        self._pages.clear()
        self._bursts.clear()
        self._weight = self._page_weight = 0

    def add(self, events: Sequence[Prepared]) -> None:
        """Keep the newest events, which follow the ones already kept, for subscriptions that are a little behind."""
        recent, before = self._events, self._weight
        recent.extend(events)
        self._weight += weight_of(events)
        if len(recent) > 2 * RECENT_EVENTS or self._weight > 2 * COPIES * RECENT_BYTES:
            self._drop_oldest()
        self._memory.use(self, self._weight - before)

    def _drop_oldest(self) -> None:
        recent = self._events
        drop = max(len(recent) - RECENT_EVENTS, 0)
        self._weight -= weight_of(recent[:drop])
        while drop < len(recent) and self._weight > COPIES * RECENT_BYTES:
            self._weight -= weight_of(recent[drop : drop + 1])
            drop += 1
        del recent[:drop]

    def stamp_at(self, offset: int) -> int:
        """The stamp of the entry that was emitted with this offset, or 0 if it is not at hand."""
        recent = self._events
        first = recent[0].offset if recent else None
        return recent[offset - first].stamp if first is not None and 0 <= offset - first < len(recent) else 0

    def keep_page(self, after: int, stamp: int, page: list[Prepared]) -> None:
        """Keep what was read from the log after an entry, for other subscriptions that stand at the same place."""
        before, pages = self._page_weight, self._pages
        if (replaced := pages.pop((after, stamp), None)) is not None:
            self._page_weight -= weight_of(replaced)
        pages[after, stamp] = page
        self._page_weight += weight_of(page)
        while len(pages) > 1 and (len(pages) > PAGES or self._page_weight > PAGES_BYTES):
            self._page_weight -= self._drop_page()
        self._memory.use(self, self._page_weight - before)

    def _drop_page(self) -> int:
        """Drop the oldest burst, or the oldest page if there is no burst. Return its weight."""
        if self._bursts:
            return weight_of(self._bursts.popitem(last=False)[1].events)
        return weight_of(self._pages.popitem(last=False)[1])

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
        return self._pages.get((offset, stamp)) or self._rest_of_page(offset, stamp)

    def _rest_of_page(self, offset: int, stamp: int) -> list[Prepared] | None:
        """The rest of a page of which a subscription has had the beginning: pages are written in several turns."""
        for page in self._pages.values():
            first = page[0].offset
            assert first is not None
            place = offset - first
            if 0 <= place < len(page) - 1 and (not stamp or page[place].stamp == stamp):
                return page[place + 1 :]
        return None

    def burst(self, page: Sequence[Prepared]) -> Burst:
        """Neighbouring events of the log as one burst, the same one for all subscriptions that need just these."""
        first, last = page[0].offset, page[-1].offset
        assert first is not None
        assert last is not None
        burst = self._bursts.get((first, last))
        if burst is None:
            before = self._page_weight
            burst = self._bursts[first, last] = Burst(page)
            self._page_weight += weight_of(page)
            while len(self._bursts) > 1 and (len(self._bursts) > PAGES or self._page_weight > PAGES_BYTES):
                self._page_weight -= weight_of(self._bursts.popitem(last=False)[1].events)
            self._memory.use(self, self._page_weight - before)
        return burst
