"""Rate limits counted in this process.

With several processes a caller has the rate in each of them; a limit that protects a resource they share belongs into
that resource.
"""

from collections.abc import Hashable

from holdfast.protocol.bucket import Bucket

from .base import Limiter, Rate

CLEAN_EVERY = 4096


class MemoryLimiter(Limiter):
    """One token bucket for each key that was seen lately. For one thread."""

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

    def _clean(self, now: float) -> None:
        """Forget buckets that are full again: a new one would be just the same."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.full(now)}
        self._clean_at = max(CLEAN_EVERY, 2 * len(self._buckets))

    def __len__(self) -> int:
        return len(self._buckets)
