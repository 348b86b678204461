"""The writing end of a connection on any ASGI server: the queue in front of the server's ``send``."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from holdfast.connections.transport import ConnectionHandler
from holdfast.protocol import codes

logger = logging.getLogger("holdfast.transports")

CLOSE_SECONDS = 5.0
"""Seconds that the server and the client may take to end a connection once it is closed from this side."""

FLOOD_SECONDS = 1.0
"""The same for a client that floods."""

NOTICE_SECONDS = 1.0
"""Seconds that the server may take to report that a client has gone, after a send to it failed."""

PROMPT_BYTES = 16 * 1024
"""Queued bytes that show the server's buffers to be full, rather than its ``send`` to wait only for a moment."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiTransport(ABC):
    """Base of the transports that write ASGI messages. It needs no task for writing.

    On most servers ``await send(…)`` returns without waiting as long as the client reads. The awaitable is therefore
    stepped here once. Only if it does wait is it set aside until its future is done; later messages queue up behind it. A
    fan-out then costs one function call per subscriber and no task switch. (asyncio's eager tasks do the same from Python
    3.12 on, at the price of one task per message.)

    A ``send`` that waits says little about the client: Granian's always waits for a moment. The connection is paused only
    when more than ``limit`` bytes are queued, and overflows when answers make them more than twice that. After
    :meth:`report_blocking` it is also notified of ``PROMPT_BYTES``.

    ``application`` is the task of the ASGI application, which ends with the connection.
    """

    __slots__ = (
        "_application",
        "_blocked",
        "_closing",
        "_dead",
        "_limit",
        "_loop",
        "_over",
        "_paused",
        "_queue",
        "_queued",
        "_reports",
        "_send",
        "_waiting",
        "bytes_sent",
        "connection",
        "deaf",
        "given_up",
    )

    def __init__(self, send: Send, limit: int, application: "asyncio.Task[Any]") -> None:
        self._application = application
        self._send = send
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._waiting: Iterator[Any] | None = None
        self._queue: deque[tuple[Message, int]] = deque()
        self._queued = 0
        self.bytes_sent = 0
        self._paused = False
        self._blocked = False  # the connection knows that PROMPT_BYTES are queued
        self._reports = False
        self._closing = False  # nothing more is accepted
        self._dead = False  # nothing more is sent
        self._over = False  # the application has ended
        self.deaf = 0.0
        self.given_up = False
        self.connection: ConnectionHandler | None = None

    @abstractmethod
    def closing_message(self, code: int, reason: str) -> Message:
        """Return the ASGI message that ends this kind of connection."""

    def report_blocking(self) -> None:
        self._reports = True

    def slow_down(self, seconds: float) -> None:
        self.deaf = seconds

    async def pause(self) -> None:
        """Wait while the client is slowed. Call instead of ``receive`` if :attr:`deaf` is not 0: a server that keeps a bounded
        number of messages then reads no more."""
        seconds, self.deaf = self.deaf, 0.0
        if not self._closing:
            await asyncio.sleep(seconds)

    def close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self.pass_on(self.closing_message(code, reason), 0)
        self._closing = True
        floods = code == codes.FLOODING.close  # the server goes on parsing until the application ends
        self._loop.call_later(FLOOD_SECONDS if floods else CLOSE_SECONDS, self._give_up)

    def end(self) -> None:
        """Note that the connection is over. A ``send`` that still waits ends when the server ends it."""
        self._closing = self._dead = self._over = True
        self._queue.clear()

    # ── the queue ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def pass_on(self, message: Message, size: int) -> None:
        """Send a message, or queue it while an earlier one waits. ``size`` is its weight in bytes."""
        if self._closing:
            return
        self.bytes_sent += size
        if self._waiting is None:
            self._step(iter(self._send(message).__await__()))
            return
        self._queue.append((message, size))
        self._queued += size
        if (
            self._reports
            and not self._blocked
            and self._queued > PROMPT_BYTES
            and self.connection is not None
        ):
            self._blocked = True
            self.connection.socket_full()
        if self._queued > self._limit and not self._paused and self.connection is not None:
            self._paused = True
            self.connection.paused()

    def answer(self, message: Message, size: int) -> None:
        """Send what a client that does not read gets too, up to a limit.

        Only answers overflow. Events are written in bursts, and one burst may exceed any limit before the pause takes effect.
        """
        self.pass_on(message, size)
        if self._paused and self._queued > 2 * self._limit and self.connection is not None:
            self._queued = 0  # report it once
            self.connection.stalled()

    def _step(self, awaitable: Iterator[Any]) -> bool:
        """Run a send as far as it goes. Return whether it is over."""
        try:
            future = next(awaitable)
        except StopIteration:
            return True
        except Exception as error:  # noqa: BLE001 - each server has its own error for "the client has gone"
            # If the client has gone, the server reports that to the receiving side too, and the connection ends there. If
            # it does not, it could not send this message (Daphne: above 1 MiB), and no message may be missing.
            if not self._dead:
                self._closing = self._dead = True
                self._loop.call_later(NOTICE_SECONDS, self._fail, error)
            return True
        self._waiting = awaitable
        if future is None:  # a bare yield asks to be stepped again in the next turn of the loop
            self._loop.call_soon(self._resume)
        else:
            future._asyncio_future_blocking = False
            future.add_done_callback(self._resume)
        return False

    def _resume(self, _: object = None) -> None:
        waiting = self._waiting
        if waiting is None or not self._step(waiting):
            return
        while self._queue and not self._dead:
            message, size = self._queue.popleft()
            self._queued -= size
            if not self._step(iter(self._send(message).__await__())):
                return
        self._waiting, self._queued = None, 0
        if self._paused or self._blocked:
            self._paused = self._blocked = False
            if not self._closing and self.connection is not None:
                self.connection.resumed()

    # ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fail(self, error: Exception) -> None:
        """Close the connection, because the server did not send a message although the client is still there."""
        if self._over:
            return
        logger.warning(
            "the server failed to send a message to %r; closing the connection: %r", self.connection, error
        )
        code = codes.FAILED
        closing = self.closing_message(code.close or 1000, code.message)
        self._step(iter(self._send(closing).__await__()))
        self._loop.call_later(CLOSE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """End the application of a client that does not take the close: the server then ends the connection."""
        if not self._over:
            self.given_up = True
            self._application.cancel()
