"""Event stream that was given to the hub: the response to a GET, on a socket of which nothing more is read."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final

from holdfast.connections.transport import ConnectionHandler
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst
from holdfast.transports.event_stream import StreamIds

from .adopted_writer import WRITER_SLOTS, AdoptedWriter

UNREAD_BYTES: Final = 16 * 1024
"""Bytes that a client may send after its request. They are dropped; a client that sends more is cut off."""

AdoptStream = Callable[["AdoptedStream"], ConnectionHandler]


class AdoptedStream(AdoptedWriter):
    """The protocol of an asyncio transport and the :class:`~holdfast.connections.transport.Transport` of an event stream.

    The body of the response ends with the connection. ``ids`` are those of its events.
    """

    name: ClassVar = "sse"
    duplex: ClassVar = False
    binary: ClassVar = False

    __slots__ = (*WRITER_SLOTS, "_dropped", "_ids", "_transport")

    def __init__(self, transport: asyncio.Transport, ids: StreamIds, connections: set[Any]) -> None:
        self._prepare(transport, connections)
        self._ids = ids
        self._dropped = 0

    def begin(self, adopt: AdoptStream, *, write_buffer_bytes: int) -> None:
        """Create the handler. ``write_buffer_bytes`` bounds what is kept for a client that does not read."""
        self._bound(write_buffer_bytes)
        self._handler = adopt(self)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, data: str | bytes) -> None:
        """Write one message of the protocol, with the id that goes with it."""
        if not self._closing:
            self._answer(self._ids.block(data))

    def send_events(self, burst: Burst) -> None:
        """Write events in one write. Streams of the same single topic share the bytes."""
        if not self._closing:
            if self._answers is not None:
                self._flush()
            self._transport.write(self._ids.blocks(burst))
            if self._blocked:
                self._fill_up()

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        if position is not None:
            self._ids.begin(asked, topic, position)

    def note_reset(self, topic: str, position: Position | None) -> None:
        if position is not None:
            self._ids.move(topic, position)

    def probe(self) -> bool:
        """Return ``False``: a client cannot answer on its stream."""
        return False

    def slow_down(self, seconds: float) -> None:
        """Do nothing: a client sends nothing on its stream."""

    def close(self, code: int, reason: str) -> None:
        """Close once everything is written. The goodbye has told the client why."""
        if self._closing:
            return
        self._closing = True
        self._flush()
        if self._paused:
            self._transport.abort()  # the client would never read it
        else:
            self._hang_up()

    # ── the transport ─────────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > UNREAD_BYTES:
            self._transport.abort()
