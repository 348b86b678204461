"""A token bucket without a clock."""


class Bucket:
    """Holds up to ``size`` tokens and gains ``per_second``; full in the beginning."""

    __slots__ = ("_at", "_per_second", "_size", "_tokens")

    def __init__(self, size: float, per_second: float, now: float) -> None:
        self._size = size
        self._per_second = per_second
        self._tokens = size
        self._at = now

    def take(self, now: float) -> float:
        """Take a token if there is one. Return 0, or after how many seconds there will be one."""
        tokens = min(self._size, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if tokens >= 1:
            self._tokens = tokens - 1
            return 0.0
        self._tokens = tokens
        return (1 - tokens) / self._per_second

    def full(self, now: float) -> bool:
        """Would a new bucket be just the same?"""
        return self._tokens + (now - self._at) * self._per_second >= self._size
