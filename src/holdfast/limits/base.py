"""How often something may happen: the value that applications write as ``"5/s"``."""

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable

import msgspec

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SYNTAX = re.compile(r"(?P<count>[0-9]{1,9})/(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)?(?P<unit>[smhd])")


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``count`` times in ``seconds`` seconds; ``count`` is also how many may come at once."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read ``"5/s"``, ``"100/m"``, ``"10/10s"``, ``"1000/h"`` or ``"20/1.5s"``.

        Raises ``ValueError`` for anything else, also for a count or a time of zero.
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
        return f"{self.count}/{self.seconds:g}s"


class Limiter(ABC):
    """Counts what callers do, each under a key of its own.

    It is exact within what shares it (see each implementation) and never blocks.
    """

    @abstractmethod
    def take(self, key: Hashable, rate: Rate, now: float) -> float:
        """Count one. Return 0 if it is within the rate, else after how many seconds it would be."""
