"""Limited logging of what clients can cause: the same message at most once in a while, with the number of those left out.

A client that repeats what makes an action fail would otherwise write a traceback with each message.
"""

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping

SECONDS = 1.0
"""Seconds between two log records of one kind."""

REMEMBERED = 1000
"""Kinds that are remembered. They are few unless clients can choose them; then the least recent ones are forgotten."""


class Repetition:
    """The state of one kind of message: the time of its last record, and how many were left out since."""

    __slots__ = ("at", "left_out")

    def __init__(self, at: float) -> None:
        self.at = at
        self.left_out = 0


class LogLimit:
    """Decides which messages are logged: of each kind one every ``seconds``, and of new kinds ``at_once``, then one every
    ``new_seconds``. For any thread."""

    def __init__(
        self,
        *,
        seconds: float = SECONDS,
        remembered: int = REMEMBERED,
        at_once: int | None = None,
        new_seconds: float = 0.0,
    ) -> None:
        self._seconds = seconds
        self._remembered = remembered
        self._at_once = at_once
        self._new_seconds = new_seconds
        self._new_until = float("-inf")  # the time at which all new kinds are allowed again
        self._lock = threading.Lock()
        self.kinds: OrderedDict[Hashable, Repetition] = OrderedDict()

    def admit(self, kind: Hashable, now: float) -> int | None:
        """Return how many messages of this kind were left out before this one; ``None`` if this one is to be left out."""
        with self._lock:
            known = self.kinds.get(kind)
            if known is None:
                if not self._admit_new(now):
                    return None
                self.kinds[kind] = Repetition(now)
                if len(self.kinds) > self._remembered:
                    self.kinds.popitem(last=False)
                return 0
            self.kinds.move_to_end(kind)
            if now < known.at + self._seconds:
                known.left_out += 1
                return None
            left_out, known.left_out, known.at = known.left_out, 0, now
            return left_out

    def _admit_new(self, now: float) -> bool:
        """Take a token of a bucket, whose state is the time at which it is full again."""
        if self._at_once is None:
            return True
        full = max(self._new_until, now) + self._new_seconds
        if full > now + self._at_once * self._new_seconds:
            return False
        self._new_until = full
        return True


_limit: LogLimit | None = LogLimit()


def log_limited(
    logger: logging.Logger,
    level: int,
    kind: Hashable,
    message: str,
    *args: object,
    error: BaseException | None = None,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Log a message, with the traceback of ``error``, unless one of the same ``kind`` was logged in the last second. ``extra`` are
    further attributes of the record."""
    left_out = 0 if _limit is None else _limit.admit((logger.name, kind), time.monotonic())
    if left_out is None:
        return
    if left_out:
        message, args = f"{message} (%d more like it since the last one were not logged)", (*args, left_out)
    logger.log(level, message, *args, exc_info=error, stacklevel=2, extra=extra)


def place_of(error: BaseException) -> tuple[type, str, int]:
    """Return the kind of an error: its type, and the line of code that raised it."""
    trace = error.__traceback__
    if trace is None:
        return type(error), "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno


@contextlib.contextmanager
def unlimited() -> Iterator[None]:
    """For tests: log every message inside the block."""
    global _limit
    before, _limit = _limit, None
    try:
        yield
    finally:
        _limit = before
