"""Writing half of an adopted connection: a socket and its handler, without task, scope or queue."""

import asyncio
import socket
from typing import TYPE_CHECKING, Any, ClassVar, Final

from holdfast.connections.transport import ConnectionHandler

CLOSE_SECONDS: Final = 5.0
"""Seconds that a client may take to read what was written before a close, and to answer it."""

PROMPT_BYTES: Final = 16 * 1024
"""Unsent bytes that may wait in the kernel for a client whose topics must know at once that it does not read."""

WRITER_SLOTS: Final = (
    "_answers",
    "_blocked",
    "_closing",
    "_connections",
    "_handler",
    "_limit",
    "_paused",
    "_reports",
)
"""The fields of :class:`AdoptedWriter`. Its subclasses declare them: in Python, only one base of a class may have fields."""


def bound_kernel_buffer(transport: asyncio.Transport, size: int) -> None:
    """Let at most ``size`` unsent bytes wait in the kernel (tcp(7), TCP_NOTSENT_LOWAT).

    Linux lets the buffer of a socket grow to megabytes. A client that does not read would cost that much memory, and would be
    recognized that much later.
    """
    made: Any = transport.get_extra_info("socket")
    if made is not None and made.family in (socket.AF_INET, socket.AF_INET6):
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)
        except (AttributeError, OSError):
            pass  # the system does not have it


class AdoptedWriter(asyncio.Protocol):
    """Base of the protocol objects that are also the :class:`~holdfast.connections.transport.Transport` of a connection.

    Both are one object, because there are very many of them. A subclass encodes messages and events. It writes messages with
    :meth:`_answer`, calls :meth:`_flush` before it writes anything else, and :meth:`_fill_up` after that if ``_blocked``. It
    declares the fields :data:`WRITER_SLOTS`, and ``_transport`` if no other base does.
    """

    closed_by_server: ClassVar = True
    bytes_sent: ClassVar = None

    if not TYPE_CHECKING:  # mypy looks for the fields of a class in its own slots only
        __slots__ = ()

    _answers: list[bytes] | None
    _blocked: bool
    _closing: bool
    _connections: set[Any]
    _handler: ConnectionHandler | None
    _limit: int
    _paused: bool
    _reports: bool
    _transport: asyncio.Transport

    def _prepare(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        """Give each field its first value. Call it in the constructor."""
        self._transport = transport
        self._connections = connections
        self._answers = None  # written at the end of this turn of the loop
        self._limit = 0
        self._paused = False
        self._blocked = False  # the socket did not take all; noticed only when reported
        self._reports = False
        self._closing = False
        self._handler = None

    def _bound(self, write_buffer_bytes: int) -> None:
        """Bound what is kept for a client that does not read, and let the server know this connection."""
        self._limit = write_buffer_bytes  # the setting's own number, not one for each connection
        self._transport.set_write_buffer_limits(high=write_buffer_bytes)
        bound_kernel_buffer(self._transport, write_buffer_bytes)
        self._connections.add(self)

    def report_blocking(self) -> None:
        """Call ``socket_full()`` from now on, and let little wait in the kernel."""
        if self._reports:
            return
        self._reports, self._blocked = True, self._paused
        bound_kernel_buffer(self._transport, min(PROMPT_BYTES, self._limit))
        # Not 0: asyncio's TLS transport would count an empty buffer as full.
        self._transport.set_write_buffer_limits(high=1, low=0)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, frame: bytes) -> None:
        """Write a frame that even a client which does not read gets, up to a limit.

        The answers of one turn of the loop are written together at its end. A client with several running calls gets several
        answers at once, and a write costs as much as all the rest of an answer.
        """
        if self._answers is not None:
            self._answers.append(frame)
        elif self._paused:
            self._transport.write(frame)
            if self._handler is not None and self._transport.get_write_buffer_size() > 2 * self._limit:
                self._handler.stalled()
        else:
            self._answers = [frame]
            asyncio.get_running_loop().call_soon(self._flush)

    def _collect(self) -> bool:
        """Keep answers until :meth:`_flush_soon`. Return ``False`` if they need not be kept: some wait already, or the client does
        not read."""
        if self._answers is not None or self._paused:
            return False
        self._answers = []
        return True

    def _flush_soon(self) -> None:
        """Write the answers behind the first steps of the tasks that have just begun: what those answer is written with them. A
        client that says hello and joins in one go gets both answers in one write."""
        if self._answers:
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._answers = None

    def _flush(self) -> None:
        """Write the answers of this turn. Call it before anything else is written."""
        answers, self._answers = self._answers, None
        if answers and not self._transport.is_closing():
            self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))
            if self._blocked:
                self._fill_up()

    def _fill_up(self) -> None:
        """Pause the handler if too much waits. The transport says only once that the socket takes no more."""
        full = self._transport.get_write_buffer_size() > self._limit
        if full and not self._paused and self._handler is not None:
            self._paused = True
            self._handler.paused()

    def _hang_up(self) -> None:
        """Close the transport once everything is written, or by force if the client does not read."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._abort_later()

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    # ── the transport ─────────────────────────────────────────────────────────────────────────────────────────────────

    def pause_writing(self) -> None:
        if self._reports:
            self._blocked = True
            if self._handler is not None:
                self._handler.socket_full()
            self._fill_up()
            return
        self._paused = True
        if self._handler is not None:
            self._handler.paused()

    def resume_writing(self) -> None:
        self._paused = self._blocked = False
        if self._handler is not None and not self._closing:
            self._handler.resumed()

    def eof_received(self) -> None:
        return None  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._connections.discard(self)
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.closed()

    def shutdown(self) -> None:
        """Shut down, because Uvicorn is stopping. It calls this on every connection."""
        if self._handler is not None and not self._closing:
            self._handler.shut_down()
        else:
            self._transport.close()

    # ── draining ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def drainable(self) -> bool:
        return self._handler is not None and not self._closing

    @property
    def busy(self) -> bool:
        return self._handler is not None and self._handler.busy

    def drain(self, after: float) -> None:
        """Say goodbye. The client may reconnect after ``after`` seconds."""
        if self._handler is not None:
            self._handler.shut_down(after)
