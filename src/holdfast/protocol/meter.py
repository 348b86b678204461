"""Rates of one sender: its messages, their bytes and its joins; and what follows when it exceeds them. Without a clock."""

from enum import Enum
from functools import lru_cache

import msgspec

from .limits import Limits

FLOOD = 100
"""The connection is closed once invalid and rate-limited messages outnumber valid ones by more than this."""

SLOW_EVERY = 25
"""Invalid and rate-limited messages beyond the valid ones, each time after which reading from the client pauses."""

SLOW_SECONDS = 1.0
"""Seconds of such a pause, at most. A pause in which as many messages come within the rate as were refused before would
hold the balance, and a flood would never end."""

EXACT = 1e-9
"""Seconds by which sums of floats may be off."""


class Consequence(Enum):
    TELL = "tell"
    SLOW = "slow"
    CLOSE = "close"


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates as :class:`Meter` needs them: for each kind the seconds that one takes, and the seconds that may be ahead."""

    message: float
    messages: float
    byte: float
    bytes: float
    join: float
    joins: float


@lru_cache(maxsize=64)
def pace_of(limits: Limits, factor: float = 1.0) -> Rates:
    """Return the pace of a connection with these limits; with ``factor``, of as many together."""
    message = 1 / (factor * limits.messages_per_second)
    byte = 1 / (factor * limits.bytes_per_second)
    join = 1 / (factor * limits.joins_per_second)
    return Rates(
        message=message,
        messages=factor * limits.burst * message + EXACT,
        byte=byte,
        bytes=factor * limits.byte_burst * byte + EXACT,
        join=join,
        joins=factor * limits.join_burst * join + EXACT,
    )


class Meter:
    """Three token buckets in three numbers (the generic cell rate algorithm, ITU-T I.371, annex A).

    Each number is the time at which its bucket is full again. What is refused is not counted.
    """

    __slots__ = ("_bytes", "_joins", "_messages", "_pace")

    def __init__(self, pace: Rates) -> None:
        self._pace = pace
        self._messages = self._bytes = self._joins = 0.0

    def take(self, size: int, now: float) -> float:
        """Count a message of ``size`` bytes. Return 0, or the seconds until it would be within the rates."""
        pace, messages, data = self._pace, self._messages, self._bytes
        if messages < now:
            messages = now
        if data < now:
            data = now
        messages += pace.message
        data += size * pace.byte
        late, heavy = messages - now - pace.messages, data - now - pace.bytes
        if late > 0 or heavy > 0:
            return max(heavy, late)
        self._messages, self._bytes = messages, data
        return 0.0

    def take_join(self, now: float) -> float:
        """Count a join. Return 0, or the seconds until it would be within the rate."""
        pace, joins = self._pace, self._joins
        joins = (max(joins, now)) + pace.join
        late = joins - now - pace.joins
        if late > 0:
            return late
        self._joins = joins
        return 0.0


class Conduct(Meter):
    """The meter of one connection, and its balance of bad and good messages.

    ``shared`` is the meter that this connection has in common with others of its user or address, if there are any.
    """

    __slots__ = ("_bad", "shared")

    def __init__(self, pace: Rates) -> None:
        super().__init__(pace)
        self.shared: Meter | None = None
        self._bad = 0

    def message(self, size: int, now: float) -> float:
        """Count a message here and in the shared meter. Return 0, or the seconds until it would be within the rates."""
        return self.take(size, now) or (self.shared.take(size, now) if self.shared is not None else 0.0)

    def join(self, now: float) -> float:
        """The same for a join."""
        return self.take_join(now) or (self.shared.take_join(now) if self.shared is not None else 0.0)

    @property
    def pause(self) -> float:
        """Seconds for which reading pauses."""
        return min(SLOW_SECONDS, SLOW_EVERY / 2 * self._pace.message)

    def good(self) -> None:
        """Note a message that was valid and within the rates. It does not undo a pause, so that several end in a close."""
        if self._bad % SLOW_EVERY:
            self._bad -= 1

    def bad(self) -> Consequence:
        """Note a message that was not. Return what follows: the client is only told, or also slowed, or it is closed."""
        self._bad += 1
        if self._bad > FLOOD:
            return Consequence.CLOSE
        return Consequence.TELL if self._bad % SLOW_EVERY else Consequence.SLOW
