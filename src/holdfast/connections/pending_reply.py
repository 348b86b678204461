"""The reply to a call, which is due when an attempt at it ends, or when that takes too long."""

import asyncio
from collections.abc import Callable

from holdfast.protocol import codes

from .request import CallFailed

Outcome = bytes | CallFailed | None
"""The result of a call as JSON text, or its failure. ``None``: a call that was answered before, because it took too long, has
ended."""

Answered = Callable[[Outcome], None]
"""Called with the outcome of a call; after a timeout once more, with ``None``."""

IsOpen = Callable[[], bool]
"""Returns whether the caller's connection is open. For any thread."""


class PendingReply:
    """One reply. (``asyncio.timeout`` and ``shield`` would need a task for each reply.)"""

    __slots__ = ("_answered", "_is_open", "_late", "timer")

    def __init__(self, answered: Answered, is_open: IsOpen) -> None:
        self._answered = answered
        self._is_open = is_open
        self._late = False
        self.timer: asyncio.TimerHandle | None = None

    @property
    def wanted(self) -> bool:
        """Whether a client still waits for the reply. For any thread."""
        return not self._late and self._is_open()

    def ended(self, attempt: "asyncio.Task[bytes]") -> None:
        if self.timer is not None:
            self.timer.cancel()
        if attempt.cancelled():
            return  # the process is ending
        error = attempt.exception()
        if self._late:
            self._answered(None)
        elif error is None:
            self._answered(attempt.result())
        elif isinstance(error, CallFailed):  # _answer() raises no other Exception; the rest ends the process
            self._answered(error)

    def expire(self) -> None:
        self._late = True
        self._answered(CallFailed.of(codes.TIMEOUT, running=True))
