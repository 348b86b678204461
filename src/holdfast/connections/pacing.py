"""Pacing: spreads the reconnects of a stopping server's clients. Reads no clock: times are arguments, in seconds."""

import msgspec

AT_LEAST_PER_SECOND = 20.0
"""Reconnects per second that are always allowed. A server with few connections does not use the whole drain time."""

AT_ONCE_SECONDS = 1e-6


class ReconnectPace(msgspec.Struct, frozen=True, kw_only=True):
    """Slots of equal length, one for each connection. A client reconnects at a random time within its slot.

    Each client has its own slot. If clients keep to their slots, no span of ``t`` seconds sees more than
    ``t * per_second + 2`` reconnects. A random wait over the whole time could not promise that.
    """

    per_second: float

    @classmethod
    def of(cls, count: int, seconds: float) -> "ReconnectPace":
        """Return the pace for ``count`` connections within ``seconds``, or less if they are few."""
        return cls(per_second=max(AT_LEAST_PER_SECOND, count / max(seconds, AT_ONCE_SECONDS)))

    def slot(self, elapsed: float) -> int:
        """Return the number of the slot at ``elapsed`` seconds after the beginning."""
        return int(elapsed * self.per_second)

    def returns(self, slot: int, chance: float) -> float:
        """Return when the client of this slot reconnects, in seconds from the beginning. ``chance`` (0 to 1) selects the time within
        the slot."""
        return (slot + chance) / self.per_second


class ReconnectSlots:
    """Assigns slots to connections that all close at once, because the server stops without time for draining."""

    def __init__(self, pace: ReconnectPace, began: float) -> None:
        self._pace = pace
        self._began = began
        self._next = 0

    def after(self, now: float, chance: float) -> float:
        """Return the seconds that the next client waits before it reconnects."""
        slot, self._next = self._next, self._next + 1
        return max(0.0, self._pace.returns(slot, chance) - (now - self._began))
