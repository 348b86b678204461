"""Rate limiter in the memory of this process.

With several processes a caller has the full rate in each of them, unless Redis counts for all (:mod:`.shared`).
"""

from collections.abc import Hashable

from holdfast.protocol.bucket import Bucket

from .base import Limiter, Rate

CLEAN_EVERY = 4096
"""Buckets after which the limiter looks for those that are full again."""


class MemoryLimiter(Limiter):
    """Token buckets, one for each key in recent use. Answers at once; use it from one thread only."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[Hashable, Rate], Bucket] = {}
        self._clean_at = CLEAN_EVERY

    def take(self, key: Hashable, rate: Rate, now: float) -> float:
        bucket = self._buckets.get((key, rate))
        if bucket is None:
            if len(self._buckets) >= self._clean_at:
                self._clean(now)
            bucket = self._buckets[key, rate] = Bucket(rate.count, rate.per_second, now)
        return bucket.take(now)

    def wait(self, key: Hashable, rate: Rate, now: float) -> float:
        """Return what :meth:`take` would return, without counting a use."""
        bucket = self._buckets.get((key, rate))
        return 0.0 if bucket is None else bucket.wait(now)

    def _clean(self, now: float) -> None:
        """Remove buckets that are full again: a new bucket would be equal to them."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.full(now)}
        self._clean_at = max(CLEAN_EVERY, 2 * len(self._buckets))

    def __len__(self) -> int:
        return len(self._buckets)
