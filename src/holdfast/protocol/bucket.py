"""Token bucket without a clock."""


class Bucket:
    """A bucket of up to ``size`` tokens that gains ``per_second`` tokens a second. It starts full."""

    __slots__ = ("_at", "_per_second", "_size", "_tokens")

    def __init__(self, size: float, per_second: float, now: float) -> None:
        self._size = size
        self._per_second = per_second
        self._tokens = size
        self._at = now

    def take(self, now: float) -> float:
        """Take a token if there is one. Return 0, or the seconds until there is one."""
        tokens = min(self._size, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if tokens >= 1:
            self._tokens = tokens - 1
            return 0.0
        self._tokens = tokens
        return (1 - tokens) / self._per_second

    def wait(self, now: float) -> float:
        """Return the seconds until there is a token; 0 if there is one."""
        tokens = self._tokens + (now - self._at) * self._per_second
        return max(0.0, (1 - tokens) / self._per_second)

    def full(self, now: float) -> bool:
        """Return whether the bucket is full, and a new one would therefore behave the same."""
        return self._tokens + (now - self._at) * self._per_second >= self._size
