"""Queue of one process's outgoing messages, and the tasks that send them."""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable

from holdfast.process.fork import reset_after_fork
from holdfast.process.shutdown import flush_at_exit, wait_for

from .loop_binding import LoopBinding, set_aside

logger = logging.getLogger("holdfast.backplane")

WARN_SECONDS = 60.0
"""Least number of seconds between two warnings about dropped messages."""


class SendQueue(ABC):
    """What all queues of outgoing messages share; a subclass holds the messages and sends them.

    Any thread puts messages in and never waits. Tasks send them, on the receiving event loop of this process or, if it
    has none, on the background loop; they exist only while there is something to send. When the receiving loop ends, the
    background loop takes over. A forked child starts with an empty queue, since the parent sends what was in it. When the
    process ends, the queue is flushed.

    A lost message is counted in :attr:`lost` and, for durable topics, repaired from the log. The start and the end of an
    outage are logged once each, dropped messages at most every :data:`WARN_SECONDS`.
    """

    def __init__(
        self, *, lost: "Counter[str] | None" = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.lost: Counter[str] = Counter() if lost is None else lost
        """Number of lost messages by reason, such as ``overflow``, ``expired`` and ``failed``."""
        self.binding = LoopBinding()
        self._now = now
        self._begin()
        reset_after_fork(self)
        flush_at_exit(self)

    def _begin(self) -> None:
        # Reentrant: a signal handler or a finalizer that publishes may interrupt a thread that holds it.
        self._lock = threading.RLock()
        self._failures = 0  # in a row; an outage, if there are any
        self._warned = -WARN_SECONDS
        self._idle = threading.Event()
        self._idle.set()

    def reset_in_child(self) -> None:
        """In a forked child: forget the parent's messages, tasks and locks."""
        self.binding = LoopBinding()
        self.lost.clear()
        self._begin()

    # ── waking the tasks, ending them ────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def _start(self) -> None:
        """Start the tasks that send. Runs on the loop that sends."""

    @abstractmethod
    def _give_up(self) -> None:
        """Drop all messages: the interpreter is ending, and no loop can be reached any more."""

    @abstractmethod
    def _leave_loop(self) -> None:
        """Send on the background loop from now on: the receiving loop stopped without :meth:`drained`."""

    def _wake(self) -> None:
        if not self.binding.call_soon(self._start, used_by=self):
            self._give_up()

    def flush(self, timeout: float) -> bool:
        """Wait until every message was sent or lost, for at most ``timeout`` seconds; return whether that is so."""
        if self.binding.stopped:
            self._leave_loop()
        return wait_for(self._idle, timeout)

    async def drained(self, timeout: float) -> bool:
        """As :meth:`flush`, on the loop that sends."""
        try:
            async with asyncio.timeout(timeout):
                while not self._idle.is_set():  # noqa: ASYNC110 - set from any thread; and only asked at the end
                    await asyncio.sleep(0.005)
        except TimeoutError:
            return False
        return True

    # ── warnings ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _overflowed(self) -> None:
        """Messages were dropped because the queue was full."""
        now = self._now()
        if now - self._warned >= WARN_SECONDS:
            self._warned = now
            logger.warning(
                "The backplane %s: messages are being dropped, the oldest first (%d until now).",
                "cannot send" if self._failures else "is given more than it can send",
                self.lost["overflow"],
            )

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            with set_aside():
                logger.warning("The backplane cannot send (%s); trying again.", reason)

    def _succeeded(self) -> None:
        if self._failures:
            self._failures = 0
            with set_aside():
                logger.warning(
                    "The backplane sends again; it has lost %d messages since this process started.",
                    sum(self.lost.values()),
                )
