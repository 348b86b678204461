"""A WebSocket client's side of one connection, cheap enough to have hundreds of them in one process.

Only what the fleet needs of RFC 6455: text and binary messages in one frame or several, pings, closes. Unlike a library
it can be told not to read.
"""

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import cast


class WebSocket(asyncio.Protocol):
    """``heard`` is called with each message, ``ended`` once, with the close code (1006 when there was none)."""

    def __init__(
        self,
        head: str,
        *,
        opened: Callable[[dict[str, str]], None],
        heard: Callable[[bytes], None],
        ended: Callable[[int, str], None],
    ) -> None:
        self._head = head
        self._opened = opened
        self._heard = heard
        self._ended = ended
        self._arrived = bytearray()
        self._parts: list[bytes] = []
        self._shaken = False
        self._closed = False
        self.transport: asyncio.Transport | None = None

    # ── what the loop tells ──────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = made = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        made.write(self._head.encode())

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        if not self._shaken and not self._shake():
            return
        while not self._closed and self._frame():
            pass

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(1006, repr(error) if error else "the connection broke off")

    # ── what the client does ─────────────────────────────────────────────────────────────────────────────────────────

    def send(self, data: bytes, *, binary: bool) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_masked(data, 2 if binary else 1))

    def stop_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def read_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def give_up(self, why: str) -> None:
        """End the connection at once, without a word."""
        self._finish(1006, why)

    # ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _shake(self) -> bool:
        head, found, rest = bytes(self._arrived).partition(b"\r\n\r\n")
        if not found:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        if " 101 " not in first + " ":
            self._finish(1006, f"refused: {first}")
            return False
        self._shaken = True
        self._arrived = bytearray(rest)
        self._opened(
            {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        )
        return True

    def _frame(self) -> bool:
        data = self._arrived
        if len(data) < 2:
            return False
        size, start = data[1] & 127, 2
        if size == 126:
            if len(data) < 4:
                return False
            (size,), start = struct.unpack_from("!H", data, 2), 4
        elif size == 127:
            if len(data) < 10:
                return False
            (size,), start = struct.unpack_from("!Q", data, 2), 10
        if len(data) < start + size:
            return False
        final, opcode, payload = data[0] & 0x80, data[0] & 15, bytes(data[start : start + size])
        del data[: start + size]
        if opcode == 8:
            code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self._finish(code, payload[2:].decode(errors="replace"))
        elif opcode == 9 and self.transport is not None:
            self.transport.write(_masked(payload, 10))
        elif opcode <= 2:
            self._parts.append(payload)
            if final:
                message = b"".join(self._parts)
                self._parts.clear()
                self._heard(message)
        return True

    def _finish(self, code: int, why: str) -> None:
        if self._closed:
            return
        self._closed = True
        if self.transport is not None:
            self.transport.abort()
        self._ended(code, why)


def handshake(host: str, path: str, cookie: str, protocol: str) -> str:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n"
        f"Cookie: {cookie}\r\n\r\n"
    )


def _masked(data: bytes, opcode: int) -> bytes:
    """One frame of a client. A mask of zeros is as good as any here (RFC 6455, 5.3 asks for one that is not)."""
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + data
