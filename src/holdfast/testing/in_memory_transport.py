"""The transport between a live client and its connection: the wire, without a wire."""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from holdfast.connections.connection import Connection
from holdfast.hub.prepared import Burst
from holdfast.protocol import frames

decode = msgspec.json.Decoder(frames.Outbound).decode


class InMemoryTransport:
    """Writes what the connection sends, as JSON text, to ``deliver``, which gets it decoded.

    While the client does not read it behaves as an ASGI server's: the first message that nobody takes pauses the
    connection, and more than ``limit`` bytes beyond it are too much.
    """

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

    # ── what the connection calls ────────────────────────────────────────────────────────────────────────────────────

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
            self.connection.overflowed()

    def send_events(self, burst: Burst) -> None:
        for event in burst.events:
            self.send(event.json.decode())

    def probe(self) -> bool:
        return False

    def report_blocking(self) -> None:
        """Nothing to do: the first message that is not read pauses the connection."""

    def close(self, code: int, reason: str) -> None:
        if self._close is None:
            self._close = code, reason
            if self.reading:
                self._end()

    # ── what the client calls ────────────────────────────────────────────────────────────────────────────────────────

    def write(self, frame: frames.Inbound) -> None:
        """Send a message to the server."""
        if self.connection is not None:
            self.connection.receive(msgspec.json.encode(frame).decode())

    def stall(self) -> None:
        """Read nothing from now on."""
        self.reading = False

    def read(self) -> int:
        """Read what has waited, and go on reading; return how many messages had waited."""
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
        """Break the connection, without a word to either side; what was not read is lost."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.closed()

    def _end(self) -> None:
        """The server's close has arrived."""
        assert self._close is not None
        self._ended(*self._close)
        asyncio.get_running_loop().call_soon(self.drop)
