"""One timer for all connections of a process."""

import logging
from collections import defaultdict
from typing import Protocol

logger = logging.getLogger("holdfast.hub")


class Timed(Protocol):
    """Something that wants to be looked at now and then."""

    def check(self, now: float) -> float | None:
        """Look at the state; return the time of the next look, or ``None`` to be watched no more."""


class TimerWheel:
    """Deadlines in buckets of a second (a hashed timing wheel: Varghese and Lauck, 1987).

    A connection that is active moves nothing here: it only remembers when it was last heard, and says at its next
    look how long it may be left alone. So a connection costs one look per deadline, not one timer per message.
    """

    def __init__(self) -> None:
        self._buckets: defaultdict[int, list[Timed]] = defaultdict(list)

    def watch(self, item: Timed, at: float) -> None:
        """Look at ``item`` soon after the time ``at`` (seconds of the loop's clock)."""
        self._buckets[int(at) + 1].append(item)

    def turn(self, now: float) -> None:
        """Look at everything whose time has come."""
        for second in sorted(second for second in self._buckets if second <= now):
            for item in self._buckets.pop(second):
                try:
                    again = item.check(now)
                except Exception:  # one bad connection must not stop the clock of all others
                    logger.exception("%r could not be looked at", item)
                    continue
                if again is not None:
                    self.watch(item, max(again, now))

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))
