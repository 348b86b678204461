"""The interface of limits that count across processes."""

from abc import ABC, abstractmethod

import msgspec

from .base import Rate


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one more use of a key. ``over``: the key has as many connections as it may. ``wait``: seconds until the
    use would be within the rate. With both unset the use is counted."""

    over: bool = False
    wait: float = 0.0

    @property
    def refused(self) -> bool:
        return self.over or self.wait > 0


class SharedCounts(ABC):
    """Counts the connections and uses of keys across all processes.

    A process that ends without a word is forgotten after its lease. While the store does not answer, everything is
    admitted: then only the limits of each process hold. For one event loop at a time.
    """

    @abstractmethod
    async def enter(self, key: str, *, limit: int | None = None, rate: Rate | None = None) -> Entered:
        """Count one more connection of ``key``, unless it has ``limit`` already or exceeds ``rate``. Both are checked in one
        step. What is refused is not counted. Call :meth:`leave` for each that was counted. Never raises."""

    @abstractmethod
    def leave(self, key: str) -> None:
        """Count one connection less, soon."""

    @abstractmethod
    async def stop(self) -> None:
        """Forget this process's connections, and close the clients."""
