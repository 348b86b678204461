"""Rate limits: the rate that applications write as ``"5/s"``, and the interface of what counts."""

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Hashable

import msgspec

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SYNTAX = re.compile(r"(?P<count>[0-9]{1,9})/(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)?(?P<unit>[smhd])")


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate of at most ``count`` uses in ``seconds`` seconds. Up to ``count`` uses may come at once."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read ``"5/s"``, ``"100/m"``, ``"10/10s"``, ``"1000/h"`` or ``"20/1.5s"``.

        Raises ``ValueError`` for anything else, and for a count or a time of zero.
        """
        given: object = text
        match = _SYNTAX.fullmatch(given) if isinstance(given, str) else None
        count = int(match["count"]) if match else 0
        seconds = float(match["number"] or 1) * _UNITS[match["unit"]] if match else 0.0
        if count < 1 or seconds <= 0:
            raise ValueError(
                f"{text!r} is not a rate; write how many per how long, such as '5/s', '100/m' or '10/10s' "
                "(units: s, m, h, d)"
            )
        return cls(count=count, seconds=seconds)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def __str__(self) -> str:
        units = (unit for unit, seconds in _UNITS.items() if seconds == self.seconds)
        return f"{self.count}/{next(units, f'{self.seconds:g}s')}"


class Limiter(ABC):
    """Counts uses of a limited resource, separately for each key.

    A limiter is exact within the processes that share it; each implementation says which those are. It never blocks the event
    loop: one that must wait for I/O, such as a limiter shared by several processes, returns an awaitable.
    """

    @abstractmethod
    def take(self, key: Hashable, rate: Rate, now: float) -> float | Awaitable[float]:
        """Count one use, and return 0 if it is within the rate, else the seconds until one would be.

        A use that is refused is not counted. ``now`` is the event loop's time in seconds. It differs from process to process,
        so a shared limiter takes the time of its store. Called on the event loop, in the order in which the calls arrived; an
        awaitable is awaited outside that order. An error raised from it fails the call; a limiter that is to let calls pass
        while its store does not answer returns 0 instead.
        """
