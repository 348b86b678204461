"""A WebSocket connection that belongs to the hub: no task, no scope, no queue, only the socket and a peer."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from holdfast.streams.prepared import Burst, Prepared

from . import framing
from .deflate import Deflate
from .framing import BINARY, CLOSE, PING, PONG, TEXT, Parser, ProtocolError

CLOSE_SECONDS = 5.0
"""How long a client may take to answer a close."""

COMPRESS_BYTES = 512
"""Messages smaller than this are sent as they are: deflate would cost more than it saves (docs/benchmarks.md)."""

PROMPT_BYTES = 16 * 1024
"""Unsent bytes that may wait in the kernel for a client whose topics want to know at once that it does not read."""

_deflate = Deflate()


class Peer(Protocol):
    """The reading end, as ``adopt`` returns it."""

    def receive(self, data: str | bytes) -> None:
        """A message has arrived."""

    def show_life(self) -> None:
        """A ping or pong frame has arrived."""

    def socket_full(self) -> None:
        """The socket takes nothing more for now. Called only after :meth:`AdoptedProtocol.report_blocking`."""

    def paused(self) -> None:
        """The write buffer is full; until :meth:`resumed` nothing but answers may be written."""

    def resumed(self) -> None:
        """The write buffer has drained, or the socket takes more again."""

    def overflowed(self) -> None:
        """Not even answers fit any more."""

    @property
    def busy(self) -> bool:
        """Are calls of the client's under way?"""

    def shut_down(self, after: float | None = None) -> None:
        """The server is stopping. The client may come back after so many seconds; ``None``: the peer decides."""

    def closed(self) -> None:
        """The connection is gone. Called once, last."""


Adopt = Callable[["AdoptedProtocol"], Peer]


def _bound_kernel_buffer(transport: asyncio.Transport, size: int) -> None:
    """Let at most so many bytes that were not sent yet wait in the kernel (tcp(7), TCP_NOTSENT_LOWAT).

    Linux lets a socket's own buffer grow to megabytes: so much would be kept for a client that does not read, and so much
    later would it be known to be slow.
    """
    made: Any = transport.get_extra_info("socket")
    if made is not None and made.family in (socket.AF_INET, socket.AF_INET6):
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)
        except (AttributeError, OSError):
            pass  # not every system has it


# ── the forms of an event on this wire ───────────────────────────────────────────────────────────────────────────────


def text_frame(event: Prepared) -> bytes:
    return framing.encode(TEXT, event.json)


def binary_frame(event: Prepared) -> bytes:
    return framing.encode(BINARY, event.msgpack)


def deflated_text_frame(event: Prepared) -> bytes:
    if len(event.json) < COMPRESS_BYTES:
        return event.form(text_frame)
    return framing.encode(TEXT, _deflate.deflate(event.json), compressed=True)


def deflated_binary_frame(event: Prepared) -> bytes:
    if len(event.msgpack) < COMPRESS_BYTES:
        return event.form(binary_frame)
    return framing.encode(BINARY, _deflate.deflate(event.msgpack), compressed=True)


_FORMS = {
    (False, False): text_frame,
    (True, False): binary_frame,
    (False, True): deflated_text_frame,
    (True, True): deflated_binary_frame,
}


class AdoptedProtocol(asyncio.Protocol):
    """The transport's protocol and the peer's sink in one object, since there are very many of them."""

    __slots__ = (
        "_answers",
        "_blocked",
        "_closing",
        "_connections",
        "_deflates",
        "_form",
        "_limit",
        "_parser",
        "_paused",
        "_peer",
        "_reports",
        "_transport",
    )

    def __init__(
        self, transport: asyncio.Transport, parser: Parser, deflates: bool, connections: set[Any]
    ) -> None:
        self._transport = transport
        self._parser = parser
        self._connections = connections
        self._deflates = deflates
        self._form = text_frame
        self._answers: list[bytes] | None = None  # written at the end of this turn of the loop
        self._limit = 0
        self._paused = False
        self._blocked = False  # the socket took not all that was written; noticed only if it is reported
        self._reports = False
        self._closing = False
        self._peer: Peer | None = None

    def begin(self, adopt: Adopt, *, binary: bool, write_buffer_bytes: int) -> None:
        """Meet the peer. ``write_buffer_bytes`` bounds what waits for a client that does not read."""
        self._form = _FORMS[binary, self._deflates]
        self._limit = 2 * write_buffer_bytes
        self._transport.set_write_buffer_limits(high=write_buffer_bytes)
        _bound_kernel_buffer(self._transport, write_buffer_bytes)
        self._connections.add(self)
        self._peer = adopt(self)

    def report_blocking(self) -> None:
        """From now on tell the peer as soon as the socket takes nothing more, and let little wait in the kernel."""
        if self._reports:
            return
        self._reports, self._blocked = True, self._paused
        _bound_kernel_buffer(self._transport, min(PROMPT_BYTES, self._limit // 2))
        # Not 0: asyncio's TLS transport counts an empty buffer as full then.
        self._transport.set_write_buffer_limits(high=1, low=0)

    # ── the peer writes ──────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, data: str | bytes) -> None:
        """Write a message of the session."""
        if self._closing:
            return
        opcode, payload = (TEXT, data.encode()) if isinstance(data, str) else (BINARY, data)
        if self._deflates and len(payload) >= COMPRESS_BYTES:
            self._answer(framing.encode(opcode, _deflate.deflate(payload), compressed=True))
        else:
            self._answer(framing.encode(opcode, payload))

    def _answer(self, frame: bytes) -> None:
        """Write what also a client that does not read gets, up to a limit.

        The answers of one turn of the loop are written together at its end: a client that has several calls under way
        gets several answers at once, and a write costs as much as all the rest of an answer.
        """
        if self._answers is not None:
            self._answers.append(frame)
        elif self._paused:
            self._transport.write(frame)
            if self._peer is not None and self._transport.get_write_buffer_size() > self._limit:
                self._peer.overflowed()
        else:
            self._answers = [frame]
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        """Write the answers of this turn. To be called before anything else is written."""
        answers, self._answers = self._answers, None
        if answers is not None and not self._transport.is_closing():
            self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))
            if self._blocked:
                self._fill_up()

    def send_events(self, burst: Burst) -> None:
        """Write events, joined once for everybody who takes the same form, in one write."""
        if not self._closing:
            if self._answers is not None:
                self._settle()
            self._transport.write(burst.joined(self._form))
            if self._blocked:
                self._fill_up()

    def _fill_up(self) -> None:
        """More was written than the socket takes. The transport says so once; how much waits is counted here."""
        full = self._transport.get_write_buffer_size() > self._limit // 2
        if full and not self._paused and self._peer is not None:
            self._paused = True
            self._peer.paused()

    def probe(self) -> bool:
        """Send a ping. A browser answers it by itself, also while the page's timers or its scripts are held up."""
        if not self._closing:
            self._answer(framing.encode(PING, b""))
        return True

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake (7.1.2), and end it without the client if it must be."""
        if self._closing:
            return
        self._closing = True
        self._settle()
        self._transport.write(framing.encode_close(code, reason))
        if self._paused:
            self._transport.abort()  # it would never be read
        else:
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    # ── the transport ────────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._parser.feed(data)
        except ProtocolError as error:
            self._take(error.before)
            self._fail(error)
        else:
            self._take(messages)

    def _take(self, messages: list[framing.Message]) -> None:
        peer = self._peer
        for message in messages:
            opcode = message.opcode
            if opcode in (PING, PONG):
                if peer is None or self._closing:
                    continue
                peer.show_life()
                if opcode == PING:
                    self._answer(framing.encode(PONG, cast("bytes", message.data)))
            elif opcode == CLOSE:
                if not self._closing:
                    self._closing = True
                    self._settle()
                    self._transport.write(framing.encode_close(message.code))
                self._hang_up()
            elif peer is not None and not self._closing:
                peer.receive(message.data)

    def _fail(self, error: ProtocolError) -> None:
        """Give the client up (7.1.7). Only its end is awaited: closing while it still sends could destroy the close frame
        on its way."""
        if not self._closing:
            self.close(error.code, error.reason)
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
                return
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the transport as soon as everything is written, or by force when the client does not read it."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    def pause_writing(self) -> None:
        if self._reports:
            self._blocked = True
            if self._peer is not None:
                self._peer.socket_full()
            self._fill_up()
            return
        self._paused = True
        if self._peer is not None:
            self._peer.paused()

    def resume_writing(self) -> None:
        self._paused = self._blocked = False
        if self._peer is not None and not self._closing:
            self._peer.resumed()

    def eof_received(self) -> None:
        return None  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._connections.discard(self)
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.closed()

    def shutdown(self) -> None:
        """Uvicorn is stopping: it asks every connection that it knows of."""
        if self._peer is not None and not self._closing:
            self._peer.shut_down()
        else:
            self._transport.close()

    # ── draining ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def drainable(self) -> bool:
        return self._peer is not None and not self._closing

    @property
    def busy(self) -> bool:
        return self._peer is not None and self._peer.busy

    def drain(self, after: float) -> None:
        """Have the peer say goodbye; the client may come back after so many seconds."""
        if self._peer is not None:
            self._peer.shut_down(after)
