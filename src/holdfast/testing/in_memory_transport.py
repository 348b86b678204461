"""Transport between a live client and its connection, in memory."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ClassVar

import msgspec

from holdfast.connections.connection import Connection
from holdfast.protocol import frames
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst

decode = msgspec.json.Decoder(frames.Outbound).decode


class InMemoryTransport:
    """Decodes each message that the connection sends, and passes it to ``deliver``.

    While the client does not read, it behaves like the transport of an ASGI server: the first message that is not read
    pauses the connection, and more than ``limit`` bytes beyond it overflow.
    """

    name: ClassVar = "test"
    duplex: ClassVar = True
    closed_by_server: ClassVar = True
    binary: ClassVar = False
    bytes_sent: ClassVar = None

    def __init__(
        self, deliver: Callable[[frames.Outbound], None], ended: Callable[[int, str], None], limit: int
    ) -> None:
        self._deliver = deliver
        self._ended = ended
        self._limit = limit
        self._waiting: deque[str | bytes] = deque()
        self._queued = 0
        self._close: tuple[int, str] | None = None
        self.reading = True
        self.connection: Connection | None = None

    # ── called by the connection ────────────────────────────────────────────────────────────────────────────────────

    def send(self, data: str | bytes) -> None:
        if self._close is not None or self.connection is None:
            return
        if self.reading:
            self._deliver(decode(data))
            return
        self._waiting.append(data)
        if len(self._waiting) == 1:
            self.connection.paused()
            return
        self._queued += len(data)
        if self._queued > self._limit:
            self._queued = 0
            self.connection.stalled()

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        pass  # the live client reads positions from the messages

    def note_reset(self, topic: str, position: Position | None) -> None:
        pass

    def send_events(self, burst: Burst) -> None:
        for event in burst.events:
            self.send(event.json.decode())

    def probe(self) -> bool:
        return False

    def report_blocking(self) -> None:
        """Nothing to do: the first message that is not read pauses the connection."""

    def slow_down(self, seconds: float) -> None:
        """Nothing to do: what a test sends arrives at once."""

    def close(self, code: int, reason: str) -> None:
        if self._close is None:
            self._close = code, reason
            if self.reading:
                self._end()

    # ── called by the client ────────────────────────────────────────────────────────────────────────────────────────

    def write(self, frame: frames.Inbound) -> None:
        """Send a message to the server."""
        if self.connection is not None:
            self.connection.receive(msgspec.json.encode(frame).decode())

    def stall(self) -> None:
        """Stop reading."""
        self.reading = False

    def read(self) -> int:
        """Read the waiting messages and go on reading; return how many there were."""
        self.reading = True
        count = len(self._waiting)
        while self._waiting:
            self._deliver(decode(self._waiting.popleft()))
        self._queued = 0
        if self._close is not None:
            self._end()
        elif count and self.connection is not None:
            self.connection.resumed()
        return count

    def drop(self) -> None:
        """Drop the connection without a close frame. Messages that were not read are lost."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.closed()

    def _end(self) -> None:
        """The server's close has arrived."""
        assert self._close is not None
        self._ended(*self._close)
        asyncio.get_running_loop().call_soon(self.drop)
