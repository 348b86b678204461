"""Pings that detect a client that is gone (RFC 6455, 5.5.2)."""

import asyncio
from collections.abc import Callable


class Keepalive:
    """Timer that calls ``ping`` every ``interval`` seconds, and ``dead`` if no answer came within ``timeout`` seconds."""

    __slots__ = ("_answered", "_interval", "_loop", "_timeout", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, interval: float | None, timeout: float | None
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._timeout = timeout
        self._answered = True
        self._timer: asyncio.TimerHandle | None = None

    def start(self, ping: Callable[[], None], dead: Callable[[], None]) -> None:
        # The timer alone has the callbacks: kept here, they would tie a connection into a cycle with its own timer.
        if self._interval:
            self._timer = self._loop.call_later(self._interval, self._tick, ping, dead)

    def answered(self) -> None:
        """Note a pong. An unrequested one is a sign of life too (5.5.3)."""
        self._answered = True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, ping: Callable[[], None], dead: Callable[[], None]) -> None:
        self._answered = False
        ping()
        if self._timeout:
            self._timer = self._loop.call_later(self._timeout, self._check, ping, dead)
        else:
            self.start(ping, dead)

    def _check(self, ping: Callable[[], None], dead: Callable[[], None]) -> None:
        self._timer = None
        if self._answered:
            self.start(ping, dead)
        else:
            dead()
