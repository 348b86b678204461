"""Time limit for an application's decision about a WebSocket's handshake."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from .limits import HANDSHAKE_SECONDS

logger = logging.getLogger("uvicorn.error")


class Decision:
    """The decision that the task of an application owes."""

    __slots__ = ("_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, task: "asyncio.Task[Any]", refuse: Callable[[], object]) -> None:
        """Wait for the decision. If it does not come in time, call ``refuse`` and cancel the task."""
        self._timer = self._loop.call_later(HANDSHAKE_SECONDS, self._expired, task, refuse)

    def came(self) -> None:
        """Note that the application has decided, or that its decision is no longer needed."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expired(self, task: "asyncio.Task[Any]", refuse: Callable[[], object]) -> None:
        self._timer = None
        logger.warning(
            "The application did not answer the handshake of a WebSocket within %g s; refusing it with 503 and cancelling "
            "the application's task. Look for what it waits for: a database, a lock, another service.",
            HANDSHAKE_SECONDS,
        )
        refuse()
        task.cancel()
