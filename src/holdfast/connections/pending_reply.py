"""The reply to a call, which is due when an attempt at it ends, or when that takes too long."""

import contextvars
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
    """One reply. (``asyncio.timeout`` and ``shield`` would need a task for each reply.)

    It is given in the context in which it was made: the attempt ends in that of a handler.
    """

    __slots__ = ("_answered", "_context", "_is_open", "_late")

    def __init__(self, answered: Answered, is_open: IsOpen) -> None:
        self._answered = answered
        self._is_open = is_open
        self._late = False
        self._context = contextvars.copy_context()

    @property
    def wanted(self) -> bool:
        """Whether a client still waits for the reply. For any thread."""
        return not self._late and self._is_open()

    def end(self, outcome: bytes | CallFailed) -> None:
        """Reply with the outcome of the attempt; after a timeout, report that the call has ended."""
        self._context.run(self._answered, None if self._late else outcome)

    def expire(self) -> None:
        """Reply that the call takes too long."""
        self._late = True
        self._context.run(self._answered, CallFailed.of(codes.TIMEOUT, running=True))
