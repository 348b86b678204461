"""Limits that count across processes: the interface of the store that counts, and rates of actions over it."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Hashable

import msgspec

from .base import Limiter, Rate
from .memory import MemoryLimiter


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
    async def use(self, key: str, rate: Rate) -> float | None:
        """Count one use of ``key``, and return 0 if it is within ``rate``, else the seconds until one would be.

        Without the answer of the store: None, at once while it is known to be away. What is refused is not counted. Keys of
        uses and of connections are apart. Never raises."""

    @abstractmethod
    def leave(self, key: str) -> None:
        """Count one connection less, soon."""

    @abstractmethod
    async def stop(self) -> None:
        """Forget this process's connections, and close the clients."""


class SharedLimiter(Limiter):
    """Rates that hold in all processes together, or in each one while the store does not answer.

    A key beyond the rate in this process alone is refused without a visit to the store, so that a client which calls too
    often costs the store nothing. For one event loop at a time.
    """

    def __init__(self, shared: SharedCounts) -> None:
        self._shared = shared
        self._own = MemoryLimiter()

    def take(self, key: Hashable, rate: Rate, now: float) -> float | Awaitable[float]:
        wait = self._own.wait(key, rate, now)
        return wait or self._take(key, rate, now)

    async def _take(self, key: Hashable, rate: Rate, now: float) -> float:
        wait = await self._shared.use(_digest(key, rate), rate)
        if wait:
            return wait
        own = self._own.take(key, rate, now)
        return own if wait is None else 0.0


def _digest(key: Hashable, rate: Rate) -> str:
    """A name for a key that is the same in every process, of bounded length, and does not show a user or an address."""
    parts = key if isinstance(key, tuple) else (key,)
    text = "\0".join(
        f"{part.__module__}.{part.__qualname__}" if isinstance(part, type) else str(part)
        for part in (*parts, rate)
    )
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
