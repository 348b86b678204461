"""Time limit for a client that reads nothing of a response."""

import asyncio
import time

from holdfast.transports.refusals import RefusalLog

from .limits import UNREAD_SECONDS


class UnreadWatch:
    """Watches the bytes of a response that wait for a client to read them, and ends a connection on which they do not move.

    asyncio keeps a socket and what was written to it for as long as the client lives, also after ``close()``. One timer runs while
    something waits, and none otherwise. A client that reads slowly is not ended: any progress counts.
    """

    __slots__ = ("_left", "_log", "_loop", "_moved", "_timer", "_transport")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, log: RefusalLog
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._log = log
        self._left = 0
        self._moved = False
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Watch what waits now, if anything does."""
        left = self._transport.get_write_buffer_size()
        if self._timer is None and left:
            self._left, self._moved = left, False
            self._timer = self._loop.call_later(UNREAD_SECONDS, self._look)

    def moved(self) -> None:
        """Note that the client has read: the transport takes more."""
        self._moved = True

    def stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if not self._moved and self._transport.get_write_buffer_size() >= self._left:
            text = f"A client read nothing of a response for {UNREAD_SECONDS:g} s; its connection is ended"
            self._log.note(text, time.monotonic())
            self._transport.abort()
        else:
            self.watch()
