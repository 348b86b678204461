"""Rate of the reads that joins cause: pages of the log, snapshots, long lists of members.

A join costs its client 100 bytes, and may cost the server a page of the log. So the reads of one owner are limited, over all its
connections. A join that shares a read with others, or that finds what it needs in memory, is free.
"""

from asyncio import AbstractEventLoop

from holdfast.limits.base import Limiter, Rate


class TooManyReads(Exception):
    """The joins of an owner have caused too many reads. ``retry_after``: seconds until the next one is within the rate."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many reads for joins; try again after {retry_after:g} seconds")
        self.retry_after = retry_after


class ReadRate:
    """Counts the reads of each owner, or of each address for anonymous clients."""

    def __init__(self, limiter: Limiter, rate: Rate) -> None:
        self._limiter = limiter
        self._rate = rate

    async def charge(self, owner: str, loop: AbstractEventLoop) -> None:
        """Count one read. Raises :class:`TooManyReads` beyond the rate."""
        taken = self._limiter.take(("join reads", owner), self._rate, loop.time())
        wait = taken if isinstance(taken, (float, int)) else await taken
        if wait:
            raise TooManyReads(round(wait, 3))
