"""A limiter whose answers must be awaited, as those of one that several processes share would be."""

import asyncio
from collections.abc import Hashable

from holdfast.limits.base import Limiter, Rate
from holdfast.limits.memory import MemoryLimiter


class LimiterElsewhere(Limiter):
    def __init__(self) -> None:
        self._counts = MemoryLimiter()
        self.error: Exception | None = None
        """Raised instead of an answer."""

    async def take(self, key: Hashable, rate: Rate, now: float) -> float:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self._counts.take(key, rate, now)
