"""A client that speaks the protocol, and one that writes single bytes to the socket."""

import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .servers import Running

JSON = "holdfast.v1.json"
MSGPACK = "holdfast.v1.msgpack"

SECONDS = 10.0
"""Seconds that an answer may take."""

Message = dict[str, Any]


class Live:
    """One connection to the live endpoint. Events that arrive before an awaited answer are kept for `event`."""

    def __init__(
        self,
        server: Running,
        *,
        user: str | None = "ada",
        subprotocols: Sequence[str] = (JSON,),
        origin: str | None = "",
        path: str = "live/ws",
        **options: Any,
    ) -> None:
        self._subprotocols = subprotocols
        headers = {"Cookie": server.users[user].cookie} if user else {}
        self._connect = connect(
            server.socket(path),
            origin=server.origin if origin == "" else origin,  # type: ignore[arg-type]
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            additional_headers=headers,
            open_timeout=SECONDS,
            close_timeout=SECONDS,
            max_size=None,
            max_queue=None,
            **options,
        )
        self._kept: deque[Message] = deque()
        self._ref = 0

    async def __aenter__(self) -> Self:
        self.socket: ClientConnection = await self._connect
        self._binary = self.socket.subprotocol == MSGPACK
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()

    # ── raw ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def send_raw(self, data: str | bytes) -> None:
        await self.socket.send(data)

    async def receive(self) -> Message:
        """The next message, whatever it is."""
        async with asyncio.timeout(SECONDS):
            data = await self.socket.recv()
        assert isinstance(data, bytes) is self._binary, (
            "JSON travels in text messages, MessagePack in binary ones"
        )
        message: Message = msgspec.msgpack.decode(data) if isinstance(data, bytes) else json.loads(data)
        return message

    async def closed(self) -> tuple[int, str]:
        """The code and reason with which the server has closed, or closes now."""
        async with asyncio.timeout(SECONDS):
            await self.socket.wait_closed()
        return self.socket.close_code or 0, self.socket.close_reason or ""

    # ── the protocol ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, **message: Any) -> None:
        data = msgspec.msgpack.encode(message) if self._binary else json.dumps(message)
        await self.send_raw(data)

    async def until(self, matches: Callable[[Message], bool]) -> Message:
        """The next message for which `matches` holds. Of those before it the events are kept."""
        while True:
            message = await self.receive()
            if matches(message):
                return message
            if message["type"] == "event":
                self._kept.append(message)

    async def request(self, type: str, **message: Any) -> Message:
        """Send with a new `ref`, and return the answer."""
        self._ref += 1
        ref = self._ref
        await self.send(type=type, ref=ref, **message)
        return await self.until(lambda answer: answer.get("ref") == ref)

    async def hello(self, **payload: Any) -> Message:
        await self.send(type="hello", payload=payload)
        return await self.until(lambda message: message["type"] == "welcome")

    async def join(self, topic: str, since: Message | None = None) -> Message:
        return await self.request("join", topic=topic, payload={"since": since} if since else {})

    async def call(self, topic: str, name: str, key: str | None = None, **arguments: Any) -> Message:
        keyed = {"key": key} if key else {}
        return await self.request("call", topic=topic, name=name, payload=arguments, **keyed)

    async def event(self) -> Message:
        """The next event, in the order of their arrival."""
        if self._kept:
            return self._kept.popleft()
        return await self.until(lambda message: message["type"] == "event")

    async def events(self, count: int) -> list[Message]:
        return [await self.event() for _ in range(count)]


class Raw:
    """A WebSocket client that does what no library would: it sends wrong bytes, reads nothing, breaks off."""

    def __init__(
        self,
        server: Running,
        *,
        user: str | None = "ada",
        path: str = "/live/ws",
        buffer: int | None = None,
        early: bytes = b"",
    ) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(SECONDS)
        self.socket.connect(("127.0.0.1", server.port))
        cookie = f"Cookie: {server.users[user].cookie}\r\n" if user else ""
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: {server.origin}\r\n{cookie}"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            + early
        )
        self._arrived = b""
        self.head = self._head()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def _head(self) -> str:
        while b"\r\n\r\n" not in self._arrived:
            more = self.socket.recv(65536)
            assert more, "closed during the handshake"
            self._arrived += more
        head, _, self._arrived = self._arrived.partition(b"\r\n\r\n")
        return head.decode()

    def frame(self, data: bytes, opcode: int = 1) -> None:
        self.socket.sendall(masked(data, opcode))

    def send(self, **message: Any) -> None:
        self.frame(json.dumps(message).encode())

    def _exactly(self, size: int) -> bytes:
        while len(self._arrived) < size:
            more = self.socket.recv(1 << 20)
            if not more:
                raise ConnectionError("closed")
            self._arrived += more
        data, self._arrived = self._arrived[:size], self._arrived[size:]
        return data

    def receive_frame(self) -> tuple[int, bytes]:
        first, size = self._exactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return first & 0xF, self._exactly(size)

    def receive(self) -> Message:
        """The next text message."""
        while True:
            opcode, data = self.receive_frame()
            if opcode == 1:
                message: Message = json.loads(data)
                return message
            if opcode == 8:
                raise ConnectionError(f"closed with {struct.unpack('!H', data[:2])[0] if data else 1005}")
            if opcode == 9:
                self.frame(data, 10)

    def until(self, kind: str) -> Message:
        while (message := self.receive())["type"] != kind:
            pass
        return message

    def break_off(self) -> None:
        """Send RST instead of FIN, as a machine that crashed and came back would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def masked(data: bytes, opcode: int = 1) -> bytes:
    """One frame of a client."""
    mask = os.urandom(4)
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
