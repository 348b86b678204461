"""A WebSocket connection that was given to the hub: a socket and its handler, without task, scope or queue."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, ClassVar, cast

from holdfast.connections.transport import ConnectionHandler
from holdfast.protocol.codes import FLOODING, TOO_SLOW
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst, Prepared

from . import framing
from .deflate import DEFLATE
from .framing import BINARY, CLOSE, OVERSIZED, PING, PONG, TEXT, ProtocolError, TooManyFrames
from .limits import LINGER_SECONDS
from .outgoing import COMPRESS_BYTES
from .parser import Parser
from .turns import TurnReader

CLOSE_SECONDS = 5.0
"""Seconds that a client may take to answer a close."""

PROMPT_BYTES = 16 * 1024
"""Unsent bytes that may wait in the kernel for a client whose topics must know at once that it does not read."""


Adopt = Callable[["AdoptedProtocol"], ConnectionHandler]


def _bound_kernel_buffer(transport: asyncio.Transport, size: int) -> None:
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


# ── forms of an event as frames ───────────────────────────────────────────────────────────────────────────────────────


def text_frame(event: Prepared) -> bytes:
    return framing.encode(TEXT, event.json)


def binary_frame(event: Prepared) -> bytes:
    return framing.encode(BINARY, event.msgpack)


def deflated_text_frame(event: Prepared) -> bytes:
    if len(event.json) < COMPRESS_BYTES:
        return event.form(text_frame)
    return framing.encode(TEXT, DEFLATE.deflate(event.json), compressed=True)


def deflated_binary_frame(event: Prepared) -> bytes:
    if len(event.msgpack) < COMPRESS_BYTES:
        return event.form(binary_frame)
    return framing.encode(BINARY, DEFLATE.deflate(event.msgpack), compressed=True)


_FORMS = {
    (False, False): text_frame,
    (True, False): binary_frame,
    (False, True): deflated_text_frame,
    (True, True): deflated_binary_frame,
}


class AdoptedProtocol(TurnReader):
    """The protocol of an asyncio transport and the :class:`~holdfast.connections.transport.Transport` of a connection.

    They are one object, because there are very many of them.
    """

    name: ClassVar = "websocket"
    duplex: ClassVar = True
    binary: ClassVar = True
    bytes_sent: ClassVar = None

    __slots__ = (
        "_answers",
        "_blocked",
        "_closing",
        "_connections",
        "_deflates",
        "_form",
        "_handler",
        "_limit",
        "_paused",
        "_reports",
        "_slowed",
    )

    def __init__(
        self, transport: asyncio.Transport, parser: Parser, deflates: bool, connections: set[Any]
    ) -> None:
        self._transport = transport
        self._parser = parser
        self._unread, self._watch, self._delay = None, None, 0.0
        self._connections = connections
        self._deflates = deflates
        self._form = text_frame
        self._answers: list[bytes] | None = None  # written at the end of this turn of the loop
        self._limit = 0
        self._paused = False
        self._blocked = False  # the socket did not take all; noticed only when reported
        self._reports = False
        self._closing = False
        self._handler: ConnectionHandler | None = None

    def begin(self, adopt: Adopt, *, binary: bool, write_buffer_bytes: int) -> None:
        """Create the handler. ``write_buffer_bytes`` bounds what is kept for a client that does not read."""
        self._form = _FORMS[binary, self._deflates]
        self._limit = 2 * write_buffer_bytes
        self._transport.set_write_buffer_limits(high=write_buffer_bytes)
        _bound_kernel_buffer(self._transport, write_buffer_bytes)
        self._connections.add(self)
        self._handler = adopt(self)

    def report_blocking(self) -> None:
        """Call ``socket_full()`` from now on, and let little wait in the kernel."""
        if self._reports:
            return
        self._reports, self._blocked = True, self._paused
        _bound_kernel_buffer(self._transport, min(PROMPT_BYTES, self._limit // 2))
        # Not 0: asyncio's TLS transport would count an empty buffer as full.
        self._transport.set_write_buffer_limits(high=1, low=0)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, data: str | bytes) -> None:
        """Write one message of the protocol."""
        if self._closing:
            return
        opcode, payload = (TEXT, data.encode()) if isinstance(data, str) else (BINARY, data)
        if self._deflates and len(payload) >= COMPRESS_BYTES:
            self._answer(framing.encode(opcode, DEFLATE.deflate(payload), compressed=True))
        else:
            self._answer(framing.encode(opcode, payload))

    def _answer(self, frame: bytes) -> None:
        """Write a frame that even a client which does not read gets, up to a limit.

        The answers of one turn of the loop are written together at its end. A client with several running calls gets several
        answers at once, and a write costs as much as all the rest of an answer.
        """
        if self._answers is not None:
            self._answers.append(frame)
        elif self._paused:
            self._transport.write(frame)
            if self._handler is not None and self._transport.get_write_buffer_size() > self._limit:
                self._handler.stalled()
        else:
            self._answers = [frame]
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Write the answers of this turn. Call it before anything else is written."""
        answers, self._answers = self._answers, None
        if answers is not None and not self._transport.is_closing():
            self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))
            if self._blocked:
                self._fill_up()

    def send_events(self, burst: Burst) -> None:
        """Write events in one write. They are joined once for all connections that take the same form."""
        if not self._closing:
            if self._answers is not None:
                self._flush()
            self._transport.write(burst.joined(self._form))
            if self._blocked:
                self._fill_up()

    def _fill_up(self) -> None:
        """Pause the handler if too much waits. The transport says only once that the socket takes no more."""
        full = self._transport.get_write_buffer_size() > self._limit // 2
        if full and not self._paused and self._handler is not None:
            self._paused = True
            self._handler.paused()

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        pass  # a client with a WebSocket knows where it is

    def note_reset(self, topic: str, position: Position | None) -> None:
        pass

    def probe(self) -> bool:
        """Send a ping frame. A browser answers it itself, even while the timers or scripts of the page are held up."""
        if not self._closing:
            self._answer(framing.encode(PING, b""))
        return True

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake (7.1.2), and end it without the client if it does not answer."""
        if self._closing:
            return
        self._closing = True
        self._flush()
        self._transport.write(framing.encode_close(code, reason))
        if self._paused:
            self._transport.abort()  # the client would never read it
        elif code == FLOODING.close:
            self._leave_unread()
        else:
            self._parser.expect_close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    def _leave_unread(self) -> None:
        """Read nothing more of a client that floods. It has a moment to read why."""
        self._stop_reading()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)

    # ── the transport ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, messages: list[framing.ClientMessage]) -> None:
        handler = self._handler
        for message in messages:
            opcode = message.opcode
            if opcode in (TEXT, BINARY):
                if handler is not None and not self._closing:
                    handler.receive(message.data)
            elif opcode in (PING, PONG):
                if handler is None or self._closing:
                    continue
                handler.show_life()
                if opcode == PING:
                    self._answer(framing.encode(PONG, cast("bytes", message.data)))
            elif opcode == CLOSE:
                if not self._closing:
                    self._closing = True
                    self._flush()
                    self._transport.write(framing.encode_close(message.code))
                self._hang_up()
            elif opcode == OVERSIZED and handler is not None and not self._closing:
                handler.oversized()

    def _fail(self, error: ProtocolError) -> None:
        """Close after an error of the client (7.1.7), and wait for its end.

        Closing while the client still sends could destroy the close frame on its way.
        """
        if isinstance(error, TooManyFrames):
            if self._handler is not None and not self._closing:
                self._handler.hang_up(FLOODING)
            else:
                self._transport.abort()
            return
        if not self._closing:
            self.close(error.code, error.reason)
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
                return
        self._hang_up()

    def _overdue(self) -> None:
        if self._handler is not None and not self._closing:
            self._handler.hang_up(TOO_SLOW)

    def _hang_up(self) -> None:
        """Close the transport once everything is written, or by force if the client does not read."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

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
        self._end_of_reading()
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
