"""Timer wheel: one timer for all connections of a process."""

import logging
from collections import defaultdict
from typing import Protocol

logger = logging.getLogger("holdfast.hub")


class Timed(Protocol):
    """An object with a deadline."""

    def check(self, now: float) -> float | None:
        """Check the state. Return the time of the next check, or ``None`` if there is to be none."""


class TimerWheel:
    """Deadlines in buckets of a second (a hashed timing wheel: Varghese and Lauck, 1987).

    An active connection moves nothing here. It only remembers when it last received something, and returns the time of its
    next check when it is checked. So a connection costs one check per deadline, and not one timer per message.
    """

    def __init__(self) -> None:
        self._buckets: defaultdict[int, list[Timed]] = defaultdict(list)

    def watch(self, item: Timed, at: float) -> None:
        """Check ``item`` within a second after the time ``at`` (seconds of the loop's clock)."""
        self._buckets[int(at) + 1].append(item)

    def turn(self, now: float) -> None:
        """Check all items whose time has come."""
        for second in sorted(second for second in self._buckets if second <= now):
            for item in self._buckets.pop(second):
                try:
                    again = item.check(now)
                except Exception:  # one bad connection must not stop the timer of all others
                    logger.exception("the deadline check of %r failed; it is not checked any more", item)
                    continue
                if again is not None:
                    self.watch(item, max(again, now))

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))
