"""How a server that goes away spreads the return of its clients. Without a clock: times are arguments, in seconds."""

import msgspec

AT_LEAST_PER_SECOND = 20.0
"""So many connections a second are no stampede: a server that has few does not take the whole time for them."""

AT_ONCE_SECONDS = 1e-6


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """A row of slots of equal length, one for each connection: somewhere in its slot the client is to come back.

    Since every client has a slot of its own, no span of ``t`` seconds sees more than ``t * per_second + 2`` of them, if
    they do as they are told. That is what a random wait for everybody could not promise.
    """

    per_second: float

    @classmethod
    def of(cls, count: int, seconds: float) -> "Pace":
        """For ``count`` connections within ``seconds``, or sooner if they are few."""
        return cls(per_second=max(AT_LEAST_PER_SECOND, count / max(seconds, AT_ONCE_SECONDS)))

    def slot(self, elapsed: float) -> int:
        """Which slot it is, so many seconds after the beginning."""
        return int(elapsed * self.per_second)

    def returns(self, slot: int, chance: float) -> float:
        """When the client of this slot is to come back, from the beginning. ``chance`` (0 to 1) chooses within it."""
        return (slot + chance) / self.per_second


class Farewell:
    """Gives out the waits of connections that are all told at once, because the server leaves no time for more."""

    def __init__(self, pace: Pace, began: float) -> None:
        self._pace = pace
        self._began = began
        self._next = 0

    def after(self, now: float, chance: float) -> float:
        """How many seconds the next one is to wait before it comes back."""
        slot, self._next = self._next, self._next + 1
        return max(0.0, self._pace.returns(slot, chance) - (now - self._began))
