"""Messages of the client that the application has not received yet."""

import asyncio
from typing import Any

from .framing import ClientMessage

MESSAGES_HIGH = 32
BYTES_HIGH = 65536


class ReadingGate:
    """Pauses the reading of a socket while at least one of several parties holds it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holders: set[int] = set()

    def hold(self, holder: object) -> None:
        if not self._holders and not self._transport.is_closing():
            self._transport.pause_reading()
        self._holders.add(id(holder))

    def release(self, holder: object) -> None:
        if id(holder) in self._holders:
            self._holders.discard(id(holder))
            if not self._holders and not self._transport.is_closing():
                self._transport.resume_reading()


class ReceiveQueue:
    """The queue behind ASGI's ``receive``.

    While it is full, nothing is read from the socket, so that a client cannot outrun the application. The queue itself is made at
    first need: a connection that is given away sees the connect event only.
    """

    def __init__(self, gate: ReadingGate) -> None:
        self._gate = gate
        self._connects = False  # the connect event has not been received
        self._queue: asyncio.Queue[tuple[dict[str, Any], int]] | None = None  # what comes after it
        self._bytes = 0
        self.reading_paused = False

    def put(self, message: ClientMessage) -> None:
        """Add a message of the client."""
        size = len(message.data)
        key = "text" if isinstance(message.data, str) else "bytes"
        self._put({"type": "websocket.receive", key: message.data}, size)
        if self._waiting.qsize() >= MESSAGES_HIGH or self._bytes >= BYTES_HIGH:
            self.pause_reading()

    def connect(self) -> None:
        self._connects = True

    def disconnect(self, code: int, reason: str = "") -> None:
        self._put({"type": "websocket.disconnect", "code": int(code), "reason": reason}, 0)

    @property
    def _waiting(self) -> "asyncio.Queue[tuple[dict[str, Any], int]]":
        if self._queue is None:
            self._queue = asyncio.Queue()
        return self._queue

    def _put(self, message: dict[str, Any], size: int) -> None:
        self._bytes += size
        self._waiting.put_nowait((message, size))

    async def receive(self) -> dict[str, Any]:
        """Return the next event: ASGI's ``receive``."""
        if self._connects:
            self._connects = False
            message: dict[str, Any] = {"type": "websocket.connect"}
        else:
            message, size = await self._waiting.get()
            self._bytes -= size
        if self.reading_paused and (self._queue is None or self._queue.empty()):
            self.resume_reading()
        return message

    def pause_reading(self) -> None:
        self.reading_paused = True
        self._gate.hold(self)

    def resume_reading(self) -> None:
        self.reading_paused = False
        self._gate.release(self)
