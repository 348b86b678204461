"""What the log did not take, and nobody waits for: kept in this process, and tried again until the log takes it.

A thread does that, which exists only as long as something is kept. It promises

- **Order.** Entries are written in the order in which they came.
- **Loss.** What is kept ends with the process, after a last attempt of :meth:`Postponed.flush`; and it is given up when it
  has waited for too long, or, oldest first, when there is too much of it. All of that is logged as an error.
- **Doubling.** An entry may be written twice: when the log took it and its answer was lost.
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

logger = logging.getLogger("holdfast.postponed")

MOST = 10_000
"""Entries that are kept."""

AT_ONCE = 200
"""Entries that are written in one transaction."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds, at most, before the second attempt, and between any two."""

NAMED = 20
"""Entries that an error names."""

Start = Callable[[Callable[[], None]], None]


class Kept(NamedTuple):
    number: int
    until: float
    draft: Draft


class Postponed:
    """Any thread may keep something here, for at most ``seconds``. ``write`` is called in a thread of its own, with what has
    to be written; it raises if that failed."""

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
        """Forget everything, the locks too: in a forked child the parent writes what is in here."""
        self._changed = threading.Condition()
        self._kept: deque[Kept] = deque()
        self._count = 0
        self._running = self._hurried = self._complained = False

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Write ``drafts`` as soon as that is possible. Never raises, and does not wait."""
        with self._changed:
            for draft in drafts:
                self._count += 1
                self._kept.append(Kept(self._count, self._clock() + self._seconds, draft))
            lost = [self._kept.popleft() for _ in range(len(self._kept) - self._most)]
            if not self._running:
                try:
                    self._start(self._run)
                    self._running = True
                except RuntimeError:  # the interpreter is ending, and starts no thread any more
                    lost += self._kept
                    self._kept.clear()
        _report(lost, f"more than {self._most} wait, or this process is ending")

    def attempt(self) -> bool:
        """Try now to write what is kept; say whether nothing is left. For one thread at a time."""
        self._give_up_the_old()
        written = 0
        while some := self._next():
            try:
                self._write([kept.draft for kept in some])
            except Exception as error:  # noqa: BLE001 - whatever it is, it may be over at the next attempt
                self._failed(error)
                return False
            self._done(some[-1].number)
            written += len(some)
        if written:
            self._complained = False
            logger.warning("what the log had not taken is in it now (%d)", written)
        return True

    def flush(self, timeout: float) -> bool:
        """Try at a quicker pace, for at most half of ``timeout`` seconds, as the process ends and others have something to
        hand over as well. What is left after that is lost."""
        done = self.hand_over(timeout / 2)
        with self._changed:
            lost = list(self._kept)
        _report(lost, "this process is ending")
        return done

    def hand_over(self, timeout: float) -> bool:
        """Try at a quicker pace, for at most ``timeout`` seconds; return whether nothing is left."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._kept, timeout)
            finally:
                self._hurried = False

    def forget(self) -> None:
        """Give everything up without a word."""
        with self._changed:
            self._kept.clear()
            self._changed.notify_all()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        tries = 0
        while self._waited(full_jitter(tries, first=FIRST_PAUSE, longest=LONGEST_PAUSE)):
            tries = 0 if self.attempt() else tries + 1

    def _waited(self, pause: float) -> bool:
        """Wait until the next attempt. ``False`` when nothing is left to do, and the thread is to end."""
        with self._changed:
            if self._kept:
                deadline = self._clock() + pause
                self._changed.wait_for(lambda: self._hurried or not self._kept, pause)
                if self._hurried:
                    left = deadline - self._clock()
                    self._changed.wait_for(lambda: not self._kept, min(left, FIRST_PAUSE))
            self._running = bool(self._kept)
            return self._running

    def _next(self) -> list[Kept]:
        with self._changed:
            return [self._kept[place] for place in range(min(AT_ONCE, len(self._kept)))]

    def _done(self, number: int) -> None:
        with self._changed:
            while self._kept and self._kept[0].number <= number:
                self._kept.popleft()
            self._changed.notify_all()

    def _give_up_the_old(self) -> None:
        with self._changed:
            lost = []
            while self._kept and self._kept[0].until <= self._clock():
                lost.append(self._kept.popleft())
        _report(lost, f"it has waited for {self._seconds:g} seconds")

    def _failed(self, error: Exception) -> None:
        """Whoever postponed something has said why. What else goes wrong is said once, until it is over."""
        if not isinstance(error, LogError) and not self._complained:
            self._complained = True
            logger.error("what the log had not taken could not be written; it is tried again", exc_info=error)


def _in_a_thread(run: Callable[[], None]) -> None:
    flush_before_os_exit()
    threading.Thread(target=run, name="holdfast-postponed", daemon=True).start()


def _report(lost: Sequence[Kept], why: str) -> None:
    if lost:
        named = "; ".join(kept.draft.payload.decode() for kept in lost[:NAMED])
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        logger.error("what the log did not take is lost (%d), as %s: %s%s", len(lost), why, named, more)
