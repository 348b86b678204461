"""A WebSocket connection that was given to the hub: a socket and its handler, without task, scope or queue."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, cast

from holdfast.connections.transport import ConnectionHandler
from holdfast.protocol.codes import FLOODING, TOO_SLOW
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst, Prepared

from . import framing
from .adopted_writer import WRITER_SLOTS, AdoptedWriter
from .deflate import DEFLATE
from .framing import BINARY, CLOSE, OVERSIZED, PING, PONG, TEXT, ProtocolError, TooManyFrames
from .limits import LINGER_SECONDS
from .outgoing import COMPRESS_BYTES
from .parser import Parser
from .turns import TurnReader

Adopt = Callable[["AdoptedProtocol"], ConnectionHandler]


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


class AdoptedProtocol(AdoptedWriter, TurnReader):
    """The protocol of an asyncio transport and the :class:`~holdfast.connections.transport.Transport` of a connection."""

    name: ClassVar = "websocket"
    duplex: ClassVar = True
    binary: ClassVar = True

    __slots__ = (*WRITER_SLOTS, "_deflates", "_form")

    def __init__(
        self, transport: asyncio.Transport, parser: Parser, deflates: bool, connections: set[Any]
    ) -> None:
        self._prepare(transport, connections)
        self._parser = parser
        self._unread, self._watch, self._delay = None, None, 0.0
        self._deflates = deflates
        self._form = text_frame

    def begin(self, adopt: Adopt, *, binary: bool, write_buffer_bytes: int) -> None:
        """Create the handler. ``write_buffer_bytes`` bounds what is kept for a client that does not read."""
        self._form = _FORMS[binary, self._deflates]
        self._bound(write_buffer_bytes)
        self._handler = adopt(self)

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

    def send_events(self, burst: Burst) -> None:
        """Write events in one write. They are joined once for all connections that take the same form."""
        if not self._closing:
            if self._answers is not None:
                self._flush()
            self._transport.write(burst.joined(self._form))
            if self._blocked:
                self._fill_up()

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
            self._abort_later()

    def _leave_unread(self) -> None:
        """Read nothing more of a client that floods. It has a moment to read why."""
        self._stop_reading()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)

    # ── the transport ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, messages: list[framing.ClientMessage]) -> None:
        collects = self._collect()
        try:
            for message in messages:
                self._handle(message)
        finally:
            if collects:
                self._flush_soon()

    def _handle(self, message: framing.ClientMessage) -> None:
        handler, opcode = self._handler, message.opcode
        if opcode in (TEXT, BINARY):
            if handler is not None and not self._closing:
                handler.receive(message.data)
        elif opcode in (PING, PONG):
            if handler is None or self._closing:
                return
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

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_reading()
        super().connection_lost(exc)
