"""Bounds of the calls of one process that are unfinished: they run, or they wait for a thread."""

import msgspec

from holdfast.protocol import codes
from holdfast.protocol.server_protocol import RETRY_SECONDS

from .request import CallFailed


class CallLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the unfinished calls of one process, which run or wait for a thread. ``each`` is for one user, or for the anonymous
    clients of one address; ``all`` is for the process."""

    each: int = 100
    all: int = 1000


class UnfinishedCalls:
    """Counts unfinished calls, by the ``limit_key`` of their callers. For the event loop."""

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        self._counts: dict[str, int] = {}
        self._all = 0

    def begin(self, key: str) -> None:
        """Count one more. Raises :class:`CallFailed` at a bound.

        The bound of the process is shared as threads are: a caller may have as many unfinished calls as are left for others.
        """
        count = self._counts.get(key, 0)
        if count >= self._limits.each:
            raise CallFailed.of(
                codes.TOO_MANY_CALLS, detail="those of its user count together", retry_after=RETRY_SECONDS
            )
        if count >= self._limits.all - self._all:
            raise CallFailed.of(codes.UNAVAILABLE, retry_after=RETRY_SECONDS)
        self._counts[key] = count + 1
        self._all += 1

    def end(self, key: str) -> None:
        """Count one less."""
        self._all -= 1
        count = self._counts[key]
        if count > 1:
            self._counts[key] = count - 1
        else:
            del self._counts[key]
