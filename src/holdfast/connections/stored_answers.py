"""Bounds of the answers that are stored for one user, or for the anonymous clients of one address.

A user may store a number of answers, and of bytes, in a minute (:data:`KEPT_SECONDS`); beyond that a call with a new key is refused.
Of a user's answers that are older than that minute, the newest are kept, up to the same number and bytes. The more a user
stores, the more often this process removes the others: with a probability at each call, so it remembers nothing for that.

The answers of anonymous clients cannot be found by their address, and a client can choose any id. They are kept for a shorter time
instead (``seconds``), in which one address may store that number, and those bytes.

A timer, which runs only while calls are made, removes anonymous answers whose time is over, and users' after theirs.
"""

import asyncio
import logging
import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.utils import timezone

from holdfast.log.calls import RECORD_BYTES, CallStore
from holdfast.process.limited_log import log_limited, place_of
from holdfast.threads.threads import Inline, Threads
from holdfast.topics.owner import ANONYMOUS, is_user

logger = logging.getLogger("holdfast.calls")

KEPT_SECONDS = 60.0
"""Seconds for which every answer is kept, whatever else its user does. Clients that lost their connection are back by then."""

SWEEP_SECONDS = 60.0
"""Seconds between two removals of answers whose time is over."""

FULL_SWEEPS = 60
"""Sweeps for anonymous answers until the next one for all."""


class AnswerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` answers and ``size`` bytes for each user and address. ``seconds`` and ``anonymous_seconds``: how long answers are
    kept."""

    count: int = 5000
    size: int = 5_000_000
    seconds: float = 24 * 3600.0
    anonymous_seconds: float = 600.0


class Stored:
    """What one user or address has stored of late: a count and bytes, which fade with time."""

    __slots__ = ("at", "count", "size")

    def __init__(self, now: float) -> None:
        self.at = now
        self.count = 0.0
        self.size = 0.0

    def fade(self, now: float, limits: AnswerLimits, seconds: float) -> None:
        """Let as much fade as ``seconds`` take to free the whole of the limits."""
        if now <= self.at:
            return
        share = (now - self.at) / seconds
        self.at = now
        self.count = max(0.0, self.count - share * limits.count)
        self.size = max(0.0, self.size - share * limits.size)


class StoredAnswers:
    """The bounds, as one process keeps them. For the event loop."""

    def __init__(self, store: CallStore, threads: Threads | Inline, limits: AnswerLimits) -> None:
        self._store = store
        self._threads = threads
        self._limits = limits
        self._stored: dict[str, Stored] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.AbstractEventLoop | None = None  # the loop that has the timer
        self._last_anonymous = float("-inf")
        self._sweeps = 0
        self._swept: datetime | None = None

    def wait(self, key: str, now: float) -> float:
        """Return the seconds until ``key`` (of a user or an address) may store one more answer; 0 if it may now."""
        stored = self._stored.get(key)
        if stored is None:
            return 0.0
        limits, seconds = self._limits, self._seconds(key)
        stored.fade(now, limits, seconds)
        surplus = max((stored.count + 1) / limits.count, stored.size / limits.size) - 1
        return max(0.0, surplus * seconds)

    def add(self, key: str, size: int, now: float) -> None:
        """Count an answer of ``size`` bytes, and trim the user's answers now and then."""
        stored = self._stored.get(key)
        if stored is None:
            stored = self._stored[key] = Stored(now)
        limits = self._limits
        stored.fade(now, limits, self._seconds(key))
        stored.count += 1
        stored.size += size + RECORD_BYTES
        if is_user(key):
            # On average once for each half of the bounds, so that no more than one and a half is kept.
            chance = 2 / limits.count + 2 * (size + RECORD_BYTES) / limits.size
            if random.random() < chance:  # noqa: S311 - nothing secret depends on it
                self._spawn(self._trim(key))
        else:
            self._last_anonymous = now
        if self._sweeping is None or self._sweeping.is_closed():
            loop = self._sweeping = asyncio.get_running_loop()
            delay = SWEEP_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - the servers do not all sweep at once
            loop.call_later(delay, self._sweep)

    def _seconds(self, key: str) -> float:
        return KEPT_SECONDS if is_user(key) else self._limits.anonymous_seconds

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _trim(self, owner: str) -> None:
        limits, before = self._limits, timezone.now() - timedelta(seconds=KEPT_SECONDS)
        try:
            await self._threads.run(
                self._store.trim, owner, count=limits.count, size=limits.size, before=before
            )
        except Exception as error:  # noqa: BLE001 - logged here
            message = "The oldest answers to calls of %s could not be removed; a later call tries again"
            log_limited(logger, logging.ERROR, place_of(error), message, owner, error=error)

    def _sweep(self) -> None:
        """Forget what has faded. Remove answers whose time is over."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for key, stored in list(self._stored.items()):
            stored.fade(now, self._limits, self._seconds(key))
            if not stored.count and not stored.size:
                del self._stored[key]
        self._spawn(self._forget())
        if self._stored or now < self._last_anonymous + self._limits.anonymous_seconds + SWEEP_SECONDS:
            loop.call_later(SWEEP_SECONDS, self._sweep)
        else:
            self._sweeping = None

    async def _forget(self) -> None:
        """Remove anonymous answers that were stored since the last time, and now and then all that are too old."""
        limits, now = self._limits, timezone.now()
        before = now - timedelta(seconds=limits.anonymous_seconds)
        whole = now - timedelta(seconds=limits.seconds)
        try:
            await self._threads.run(self._store.forget, before, since=self._swept or whole, owners=ANONYMOUS)
            self._swept = before
            if self._sweeps % FULL_SWEEPS == 0:
                await self._threads.run(self._store.forget, whole)
            self._sweeps += 1
        except Exception:
            logger.exception("Old answers to calls could not be removed; the next sweep tries again")
