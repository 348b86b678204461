"""Retry queue: entries that the log did not take, and that have no caller who could retry them.

A thread writes them, which exists only while the queue holds something. The queue promises

- **Order.** Entries are written in the order in which they were queued.
- **Loss.** The queue is in memory: it ends with the process, after a last attempt of :meth:`RetryQueue.flush`. An entry is
  dropped when it has waited for too long, and the oldest ones when there are too many. Each loss is logged as an error.
- **Duplicates.** An entry may be written twice: when the log took it and its answer was lost.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from holdfast.backplane.backoff import full_jitter
from holdfast.log.base import Draft, LogError
from holdfast.process.fork import reset_after_fork
from holdfast.process.shutdown import flush_at_exit, flush_before_os_exit

logger = logging.getLogger("holdfast.control")

MOST = 10_000
"""Entries that the queue holds at most."""

AT_ONCE = 200
"""Entries that are written in one transaction, at most."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Most seconds before the second attempt, and between any two attempts."""

NAMED = 20
"""Entries that an error message names, at most."""

Start = Callable[[Callable[[], None]], None]


class Queued(NamedTuple):
    number: int
    until: float
    draft: Draft


class RetryQueue:
    """Holds entries for at most ``seconds``. Any thread may add some. ``write`` is called in the queue's thread, with the
    entries to be written; it raises an exception if that failed."""

    def __init__(
        self,
        write: Callable[[Sequence[Draft]], None],
        *,
        seconds: float,
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
        start: Start | None = None,
    ) -> None:
        self._write, self._seconds, self._most = write, seconds, most
        self._clock = clock
        self._start = start or _in_a_thread
        self.reset_in_child()
        reset_after_fork(self)
        flush_at_exit(self)

    def reset_in_child(self) -> None:
        """Forget everything, the locks too. In a forked child: the parent writes the entries that are in here."""
        self._changed = threading.Condition()
        self._kept: deque[Queued] = deque()
        self._count = 0
        self._running = self._writing = self._hurried = self._complained = False

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Queue ``drafts``, to be written as soon as that is possible. Never raises, and does not wait."""
        with self._changed:
            for draft in drafts:
                self._count += 1
                self._kept.append(Queued(self._count, self._clock() + self._seconds, draft))
            lost = [self._kept.popleft() for _ in range(len(self._kept) - self._most)]
            if not self._running:
                try:
                    self._start(self._run)
                    self._running = True
                except RuntimeError:  # the interpreter is ending, and starts no thread any more
                    lost += self._kept
                    self._kept.clear()
        _report(lost, f"more than {self._most} wait or this process is ending")

    def attempt(self) -> bool:
        """Try to write all entries now. Return whether the queue is empty. For one thread at a time."""
        self._drop_old()
        written = 0
        while some := self._next():
            try:
                self._write([kept.draft for kept in some])
            except Exception as error:  # noqa: BLE001 - whatever it is, it may be over at the next attempt
                self._failed(error)
                return False
            finally:
                self._wrote()
            self._done(some[-1].number)
            written += len(some)
        if written:
            self._complained = False
            logger.warning("the log has taken control commands that it had not taken before (%d)", written)
        return True

    def flush(self, timeout: float) -> bool:
        """Retry more often, for at most half of ``timeout`` seconds: the process ends, and others have something to hand over
        as well. The entries that remain are lost. Return whether there are none."""
        done = self.hand_over(timeout / 2)
        with self._changed:
            lost = list(self._kept)
        _report(lost, "this process is ending")
        return done

    def hand_over(self, timeout: float) -> bool:
        """Retry more often, for at most ``timeout`` seconds. Return whether the queue is empty."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._kept, timeout)
            finally:
                self._hurried = False

    def forget(self, timeout: float = 5.0) -> None:
        """Drop all entries without logging them. A write under way ends first, for which this waits at most ``timeout`` seconds:
        a test that empties the tables next would lock them in another order."""
        with self._changed:
            self._kept.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._writing, timeout)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        tries = 0
        while self._waited(full_jitter(tries, first=FIRST_PAUSE, longest=LONGEST_PAUSE)):
            tries = 0 if self.attempt() else tries + 1

    def _waited(self, pause: float) -> bool:
        """Wait until the next attempt. Return ``False`` if the queue is empty, and the thread has to end."""
        with self._changed:
            if self._kept:
                deadline = self._clock() + pause
                self._changed.wait_for(lambda: self._hurried or not self._kept, pause)
                if self._hurried:
                    left = deadline - self._clock()
                    self._changed.wait_for(lambda: not self._kept, min(left, FIRST_PAUSE))
            self._running = bool(self._kept)
            return self._running

    def _next(self) -> list[Queued]:
        with self._changed:
            self._writing = bool(self._kept)
            return [self._kept[place] for place in range(min(AT_ONCE, len(self._kept)))]

    def _wrote(self) -> None:
        with self._changed:
            self._writing = False
            self._changed.notify_all()

    def _done(self, number: int) -> None:
        with self._changed:
            while self._kept and self._kept[0].number <= number:
                self._kept.popleft()
            self._changed.notify_all()

    def _drop_old(self) -> None:
        with self._changed:
            lost = []
            while self._kept and self._kept[0].until <= self._clock():
                lost.append(self._kept.popleft())
        _report(lost, f"the log has not taken them for {self._seconds:g} seconds")

    def _failed(self, error: Exception) -> None:
        """Log an error that the log does not raise itself, once in a row. The caller of :meth:`keep` has logged the first."""
        if not isinstance(error, LogError) and not self._complained:
            self._complained = True
            logger.error("control commands could not be written to the log; trying again", exc_info=error)


def _in_a_thread(run: Callable[[], None]) -> None:
    flush_before_os_exit()
    threading.Thread(target=run, name="holdfast-retry", daemon=True).start()


def _report(lost: Sequence[Queued], why: str) -> None:
    if lost:
        named = "; ".join(kept.draft.payload.decode() for kept in lost[:NAMED])
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        logger.error(
            "control commands that the log did not take are lost (%d), because %s: %s%s",
            len(lost),
            why,
            named,
            more,
        )
