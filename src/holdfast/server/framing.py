"""Frames of RFC 6455, without I/O: bytes in, messages out; messages in, bytes out.

Section numbers in the comments are RFC 6455's. A server reads masked frames and writes unmasked ones (5.1).
"""

import codecs
from enum import IntEnum
from typing import Final

import msgspec

from .deflate import Deflate, TooMuch

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
RSV1: Final = 0x40
MASK: Final = 0x80
CONTROL_BYTES: Final = 125  # 5.5: control frames are short and not fragmented


class CloseCode(IntEnum):
    """7.4.1, and the registry that it opened."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005  # never sent
    ABNORMAL = 1006  # never sent
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012


class Message(msgspec.Struct, frozen=True, gc=False):
    """Something complete that the client sent: a message (``TEXT`` with ``str``, ``BINARY`` with ``bytes``) or a control
    frame. Of a ``CLOSE`` the ``data`` is the reason, and ``code`` its code (1005: there was none)."""

    opcode: int
    data: str | bytes
    code: int = 0


class ProtocolError(Exception):
    """The client broke the protocol; the connection is to be closed with ``code``."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode(opcode: int, payload: bytes, *, compressed: bool = False) -> bytes:
    """One unfragmented frame as a server writes it."""
    first = FIN | opcode | (RSV1 if compressed else 0)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame; a reason that is too long is cut, on a character's border."""
    if code == CloseCode.NO_STATUS:
        return encode(CLOSE, b"")
    text = reason.encode()[: CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode(CLOSE, code.to_bytes(2, "big") + text)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def unmask(mask: bytes, data: bytes) -> bytes:
    """5.3, by one operation on large integers."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def valid_close_code(code: int) -> bool:
    """7.4.1 and 7.4.2: may a client send this?"""
    return 3000 <= code < 5000 or (1000 <= code < 1015 and code not in (1004, 1005, 1006))


class _Fragments:
    """A message of which more is to come."""

    __slots__ = ("compressed", "decoder", "opcode", "parts", "size")

    def __init__(self, opcode: int, compressed: bool) -> None:
        self.opcode = opcode
        self.compressed = compressed
        self.parts: list[bytes] = []
        self.size = 0
        checks_text = opcode == TEXT and not compressed
        self.decoder = codecs.getincrementaldecoder("utf-8")() if checks_text else None


class Parser:
    """Reads what a client sends. ``max_size`` bounds a message in bytes, before and after inflating."""

    __slots__ = ("_buffer", "_closed", "_deflate", "_fragments", "_max_size")

    def __init__(self, max_size: int, deflate: Deflate | None = None) -> None:
        self._max_size = max_size
        self._deflate = deflate
        self._buffer = b""
        self._fragments: _Fragments | None = None
        self._closed = False

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes in any portions; return what became complete. Raises :class:`ProtocolError`, once: what came before
        it is lost only to the reader, who is about to close anyway. After a close frame nothing is read (5.5.1)."""
        if self._closed:
            return []
        buffer = self._buffer + data if self._buffer else data
        messages: list[Message] = []
        at, end = 0, len(buffer)
        try:
            while end - at >= 2:
                following = self._frame(buffer, at, end, messages)
                if following == at:
                    break
                at = following
                if self._closed:
                    at = end
        except ProtocolError:
            self._closed, self._buffer, self._fragments = True, b"", None
            raise
        self._buffer = buffer[at:] if at < end else b""
        return messages

    def _frame(self, buffer: bytes, at: int, end: int, messages: list[Message]) -> int:
        """Read the frame that begins at ``at``; return where the next begins, or ``at`` while it is incomplete."""
        first, second = buffer[at], buffer[at + 1]
        size = second & 0x7F
        start = at + 2
        self._check_header(first, second, size)
        if size == 126:
            if end - start < 2:
                return at
            size = int.from_bytes(buffer[start : start + 2], "big")
            start += 2
            if size < 126:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")  # 5.2
        elif size == 127:
            if end - start < 8:
                return at
            size = int.from_bytes(buffer[start : start + 8], "big")
            start += 8
            if size < 65536 or size >> 63:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")  # 5.2
        if not first & 0x8:
            held = self._fragments.size if self._fragments is not None else 0
            if held + size > self._max_size:
                raise ProtocolError(CloseCode.TOO_BIG, f"message longer than {self._max_size} bytes")
        stop = start + 4 + size
        if stop > end:
            return at
        payload = unmask(buffer[start : start + 4], buffer[start + 4 : stop]) if size else b""
        message = self._take(first, payload)
        if message is not None:
            messages.append(message)
        return stop

    def _check_header(self, first: int, second: int, size: int) -> None:
        if not second & MASK:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "frame is not masked")  # 5.1
        opcode = first & 0xF
        if first & 0x30:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "reserved bit set")  # 5.2
        if first & RSV1 and (self._deflate is None or opcode not in (TEXT, BINARY)):  # RFC 7692, 6
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "reserved bit set")
        if opcode & 0x8:
            if opcode > PONG:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "unknown opcode")  # 5.2
            if size > CONTROL_BYTES or not first & FIN:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "control frame long or fragmented")  # 5.5
        elif opcode > BINARY:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        elif (opcode == CONTINUATION) != (self._fragments is not None):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "continuation out of place")  # 5.4

    def _take(self, first: int, payload: bytes) -> Message | None:
        opcode = first & 0xF
        if opcode & 0x8:
            return self._control(opcode, payload)
        if first & FIN and opcode != CONTINUATION:
            return self._complete(opcode, payload, bool(first & RSV1))
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = _Fragments(opcode, bool(first & RSV1))
        fragments.parts.append(payload)
        fragments.size += len(payload)
        if fragments.decoder is not None:
            try:
                fragments.decoder.decode(payload, final=bool(first & FIN))
            except UnicodeDecodeError:
                raise ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8") from None  # 8.1
        if not first & FIN:
            return None
        self._fragments = None
        return self._complete(fragments.opcode, b"".join(fragments.parts), fragments.compressed)

    def _complete(self, opcode: int, payload: bytes, compressed: bool) -> Message:
        if compressed:
            assert self._deflate is not None
            try:
                payload = self._deflate.inflate(payload, self._max_size)
            except TooMuch:
                raise ProtocolError(
                    CloseCode.TOO_BIG, f"message longer than {self._max_size} bytes"
                ) from None
            except ValueError:
                raise ProtocolError(CloseCode.INVALID_DATA, "compressed data is broken") from None
        if opcode == BINARY:
            return Message(BINARY, payload)
        try:
            return Message(TEXT, payload.decode())
        except UnicodeDecodeError:
            raise ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8") from None  # 8.1

    def _control(self, opcode: int, payload: bytes) -> Message:
        if opcode != CLOSE:
            return Message(opcode, payload)
        self._closed = True
        if not payload:
            return Message(CLOSE, "", CloseCode.NO_STATUS)  # 7.1.5
        code = int.from_bytes(payload[:2], "big")
        if len(payload) == 1 or not valid_close_code(code):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "close code is not valid")  # 7.4
        try:
            return Message(CLOSE, payload[2:].decode(), code)
        except UnicodeDecodeError:
            raise ProtocolError(CloseCode.INVALID_DATA, "close reason is not UTF-8") from None  # 5.5.1
