"""Very many light clients in one process: they join a room, watch their offsets, and reconnect when a server asks them to."""

import asyncio
import base64
import os
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec

MASK = b"\0\0\0\0"  # a mask of zeros is a mask (RFC 6455, 5.3), and costs nothing


class Payload(msgspec.Struct):
    body: str = ""
    epoch: str = ""
    offset: int = 0
    recovered: bool | None = None
    after: float | None = None


class Frame(msgspec.Struct):
    type: str
    payload: Payload | None = None
    offset: int = 0


_decode = msgspec.json.Decoder(Frame).decode


@dataclass
class Tally:
    """The counts of all clients together."""

    opened: list[float] = field(default_factory=list)
    """When connections were begun, the first ones left out."""
    refused: int = 0
    """Attempts that ended without a handshake."""
    dropped: int = 0
    """Connections that ended without a goodbye."""
    goodbyes: int = 0
    lost: int = 0
    doubled: int = 0
    not_recovered: int = 0


class Client:
    """One user's browser. ``silence`` and ``lateness`` are the longest that it saw, in seconds."""

    def __init__(self, port: int, room: str, tally: Tally) -> None:
        self.port, self.room, self.tally = port, room, tally
        self.epoch = ""
        self.offset = -1
        self.heard = 0.0
        self.silence = 0.0
        self.lateness = 0.0
        self.joined = asyncio.Event()
        self.watching = False
        self.connection: Connection | None = None
        self.begun = False

    def connect(self) -> None:
        if self.begun:
            self.tally.opened.append(time.monotonic())
        self.begun = True
        asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), "127.0.0.1", self.port
            )
        except OSError:
            self.refused()

    def refused(self) -> None:
        self.tally.refused += 1
        self.again(None)

    def again(self, after: float | None) -> None:
        """Reconnect as the browser client does: when the server said so, else after a random time of up to a second."""
        wait = random.random() if after is None else after
        asyncio.get_running_loop().call_later(wait, self.connect)

    def took(self, frame: Frame) -> None:
        payload = frame.payload or Payload()
        if frame.type == "event":
            now = time.monotonic()
            if self.watching:
                self.silence = max(self.silence, now - self.heard)
                self.lateness = max(self.lateness, time.time() - float(payload.body))
            self.heard = now
            if frame.offset != self.offset + 1:
                self.tally.lost += max(0, frame.offset - self.offset - 1)
                self.tally.doubled += frame.offset <= self.offset
            self.offset = max(self.offset, frame.offset)
        elif frame.type == "joined":
            if self.offset < 0:
                self.epoch, self.offset = payload.epoch, payload.offset
            elif not payload.recovered:
                self.tally.not_recovered += 1
            self.joined.set()


class Connection(asyncio.Protocol):
    """A WebSocket with the part of RFC 6455 that these clients need."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.buffer = b""
        self.open = False
        self.after: float | None = None
        self.goodbye = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /live/ws HTTP/1.1\r\nHost: 127.0.0.1:{self.client.port}\r\n"
            f"Origin: http://127.0.0.1:{self.client.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def say(self, message: dict[str, Any]) -> None:
        self.write(1, msgspec.json.encode(message))

    def write(self, opcode: int, data: bytes) -> None:
        size = len(data)
        head = (
            bytes((128 | opcode, 128 | size))
            if size < 126
            else bytes((128 | opcode, 254)) + size.to_bytes(2, "big")
        )
        self.transport.write(head + MASK + data)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open and not self._opened():
            return
        buffer, at, end = self.buffer, 0, len(self.buffer)
        while end - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                if end - at < 4:
                    break
                size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                raise ValueError("a message that long was not expected")
            if end - start < size:
                break
            self._took(buffer[at] & 15, buffer[start : start + size])
            at = start + size
        self.buffer = buffer[at:]

    def _opened(self) -> bool:
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self.transport.abort()
            return False
        self.open, self.buffer = True, rest
        client = self.client
        client.connection = self
        payload = {} if client.offset < 0 else {"since": {"epoch": client.epoch, "offset": client.offset}}
        self.say({"type": "join", "ref": 1, "topic": f"kept/{client.room}", "payload": payload})
        return True

    def _took(self, opcode: int, data: bytes) -> None:
        if opcode == 1:
            frame = _decode(data)
            if frame.type == "goodbye":
                self.goodbye = True
                self.after = frame.payload.after if frame.payload else None
                self.client.tally.goodbyes += 1
            else:
                self.client.took(frame)
        elif opcode == 8:
            self.write(8, data[:2])
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.open:
            self.client.tally.dropped += not self.goodbye
            self.client.again(self.after)
        else:
            self.client.refused()


async def beat(clients: list[Client], seconds: float) -> None:
    """Keep all connections alive: each sends a ping every so many seconds."""
    waiting = deque(clients)
    while True:
        await asyncio.sleep(0.1)
        for _ in range(int(len(clients) * 0.1 / seconds) + 1):
            client = waiting.popleft()
            waiting.append(client)
            connection = client.connection
            if connection is not None and connection.open and not connection.transport.is_closing():
                connection.say({"type": "ping"})
