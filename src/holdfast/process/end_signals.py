"""Signals that ask a process to end, noticed before its server acts on them.

An ASGI server tells its application that it stops only when all responses have ended. A response that has no end would hold it up.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class EndSignals:
    """Calls ``notice`` on an event loop when a signal asks the process to end, and then the server's own handler.

    A signal that the server does not handle stays as it is. Nothing is noticed outside the main thread, where Python has no
    signals.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, notice: Callable[[], object]) -> None:
        self._loop = loop
        self._notice = notice
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def follow(self) -> None:
        """Begin. Call it when the server has set up its handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in END_SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler) and handler is not signal.default_int_handler:
                self._handlers[number] = handler
                signal.signal(number, self._handle)

    def leave(self) -> None:
        """Give the signals back to the server, unless it has other handlers by now."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._handlers.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._notice)
        handler = self._handlers.get(number)
        if handler is not None:
            handler(number, frame)
