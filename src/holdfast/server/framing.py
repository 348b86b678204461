"""Frames of RFC 6455, without I/O: bytes become messages, and messages become bytes.

Section numbers in comments are those of RFC 6455. A server reads masked frames and writes unmasked ones (5.1).
"""

import codecs
from enum import IntEnum
from typing import Final

import msgspec

from .deflate import Deflate, TooMuch
from .masking import apply_mask

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

WHOLE_TEXT: Final = FIN | TEXT
WHOLE_BINARY: Final = FIN | BINARY


class CloseCode(IntEnum):
    """Close codes of section 7.4.1, and of the registry that it opened."""

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


class ClientMessage(msgspec.Struct, frozen=True, gc=False):
    """A complete message of the client (``TEXT`` with ``str``, ``BINARY`` with ``bytes``) or a control frame.

    For a ``CLOSE``, ``data`` is the reason and ``code`` the close code (1005: it had none).
    """

    opcode: int
    data: str | bytes
    code: int = 0


class ProtocolError(Exception):
    """The client violated the protocol.

    The connection is to be closed with ``code``, once the messages that came ``before`` the violation are handled.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason
        self.before: list[ClientMessage] = []


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode(opcode: int, payload: bytes, *, compressed: bool = False) -> bytes:
    """Encode one unfragmented frame, as a server writes it."""
    first = FIN | opcode | (RSV1 if compressed else 0)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Encode a close frame; 1005 makes one without a code. A reason that is too long is cut between characters."""
    if code == CloseCode.NO_STATUS:
        return encode(CLOSE, b"")
    text = reason.encode()[: CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode(CLOSE, code.to_bytes(2, "big") + text)


def valid_close_code(code: int) -> bool:
    """Return whether this code may be sent (7.4.1 and 7.4.2)."""
    return 3000 <= code < 5000 or (1000 <= code < 1015 and code not in (1004, 1005, 1006))


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Fragments:
    """A message whose last fragment has not arrived (5.4)."""

    __slots__ = ("compressed", "data", "decoder", "opcode")

    def __init__(self, opcode: int, compressed: bool) -> None:
        self.opcode = opcode
        self.compressed = compressed
        self.data = bytearray()  # not a list: tiny fragments would make that many times larger
        checks_text = opcode == TEXT and not compressed
        self.decoder = codecs.getincrementaldecoder("utf-8")() if checks_text else None

    def add(self, payload: bytes) -> None:
        self.data += payload
        if self.decoder is not None:
            try:
                self.decoder.decode(payload)
            except UnicodeDecodeError:
                raise ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8") from None  # 8.1


class Parser:
    """Parser of a client's frames.

    ``max_size`` bounds a message in bytes, before and after inflating. It also bounds the memory held: never more than that
    and one control frame, whatever lengths the client declares and however small its portions are.
    """

    __slots__ = ("_between", "_closed", "_deflate", "_fragments", "_max_size", "_needed", "_rest")

    def __init__(self, max_size: int, deflate: Deflate | None = None) -> None:
        self._max_size = max_size
        self._deflate = deflate
        self._rest: bytearray | None = None  # an incomplete frame
        self._needed = 0  # bytes of it that must be there before it is parsed again
        self._fragments: _Fragments | None = None
        self._closed = False
        self._between = max_size >= CONTROL_BYTES  # no message or frame is begun, and a short message fits

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame or message."""
        fragments = 0 if self._fragments is None else len(self._fragments.data)
        return fragments + (0 if self._rest is None else len(self._rest))

    def feed(self, data: bytes) -> list[ClientMessage]:
        """Parse bytes in any portions and return the messages they complete.

        Raises :class:`ProtocolError`, once. After that, and after a close frame, nothing is read (5.5.1, 7.1.7).
        """
        # By far most reads bring one short message, whole. This saves two thirds of its cost.
        size = len(data) - 6
        if self._between and 0 <= size <= CONTROL_BYTES and data[1] == MASK | size:
            if data[0] == WHOLE_TEXT:
                try:
                    return [ClientMessage(TEXT, apply_mask(data[6:], data[2:6]).decode())]
                except UnicodeDecodeError:
                    pass  # reported below
            elif data[0] == WHOLE_BINARY:
                return [ClientMessage(BINARY, apply_mask(data[6:], data[2:6]))]
        return [] if self._closed else self._feed(data)

    def _feed(self, data: bytes) -> list[ClientMessage]:
        buffer: bytes | bytearray = data
        if self._rest is not None:
            self._rest += data
            buffer = self._rest
            if len(buffer) < self._needed:
                return []
        messages: list[ClientMessage] = []
        try:
            at = self._frames(buffer, messages)
        except ProtocolError as error:
            self._close()
            error.before = messages
            raise
        if self._closed:
            self._close()
        else:
            self._rest = bytearray(buffer[at:]) if at < len(buffer) else None
            self._between = self._rest is None and self._fragments is None and self._max_size >= CONTROL_BYTES
        return messages

    def _close(self) -> None:
        self._closed, self._between, self._rest, self._fragments = True, False, None, None

    def _frames(self, buffer: bytes | bytearray, messages: list[ClientMessage]) -> int:
        """Parse the complete frames and return where the incomplete one begins."""
        at, end = 0, len(buffer)
        while not self._closed:
            start, size = self._header(buffer, at, end)
            stop = start if size < 0 else start + 4 + size
            if stop > end:
                self._needed = stop - at
                break
            payload = apply_mask(buffer[start + 4 : stop], buffer[start : start + 4]) if size else b""
            message = self._take(buffer[at], payload)
            if message is not None:
                messages.append(message)
            at = stop
        return at

    def _header(self, buffer: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
        """Return where the header of the frame at ``at`` ends, before the masking key, and the payload's length.

        The length is -1 while it cannot be read.
        """
        start = at + 2
        if start > end:
            return start, -1
        first, second = buffer[at], buffer[at + 1]
        size = second & 0x7F
        self._check(first, second, size)
        if size == 126:
            start += 2
            if start > end:
                return start, -1
            size = int.from_bytes(buffer[at + 2 : start], "big")
            if size < 126:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")  # 5.2
        elif size == 127:
            start += 8
            if start > end:
                return start, -1
            size = int.from_bytes(buffer[at + 2 : start], "big")
            if size < 65536 or size >> 63:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")  # 5.2
        if not first & 0x8:
            held = 0 if self._fragments is None else len(self._fragments.data)
            if held + size > self._max_size:
                raise self._too_big()
        return start, size

    def _check(self, first: int, second: int, size: int) -> None:
        """Check the first two bytes of a frame."""
        opcode = first & 0xF
        if first & 0x30:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "reserved bit set")  # 5.2
        if first & RSV1 and (self._deflate is None or opcode not in (TEXT, BINARY)):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "reserved bit set")  # RFC 7692, 6
        if opcode & 0x8:
            if opcode > PONG:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "unknown opcode")  # 5.2
            if size > CONTROL_BYTES or not first & FIN:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "control frame long or fragmented")  # 5.5
        elif opcode > BINARY:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "unknown opcode")  # 5.2
        elif (opcode == CONTINUATION) != (self._fragments is not None):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "continuation out of place")  # 5.4
        if not second & MASK:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "frame is not masked")  # 5.1

    def _take(self, first: int, payload: bytes) -> ClientMessage | None:
        opcode, final = first & 0xF, bool(first & FIN)
        if opcode & 0x8:
            return self._control(opcode, payload)
        if final and opcode != CONTINUATION:
            return self._complete(opcode, payload, bool(first & RSV1))
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = _Fragments(opcode, bool(first & RSV1))
        fragments.add(payload)
        if not final:
            return None
        self._fragments = None
        return self._complete(fragments.opcode, fragments.data, fragments.compressed)

    def _complete(self, opcode: int, payload: bytes | bytearray, compressed: bool) -> ClientMessage:
        if compressed:
            assert self._deflate is not None
            try:
                payload = self._deflate.inflate(payload, self._max_size)
            except TooMuch:
                raise self._too_big() from None
            except ValueError:
                raise ProtocolError(CloseCode.INVALID_DATA, "compressed data is broken") from None
        if opcode == BINARY:
            return ClientMessage(BINARY, bytes(payload))
        try:
            return ClientMessage(TEXT, payload.decode())
        except UnicodeDecodeError:
            raise ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8") from None  # 8.1

    def _control(self, opcode: int, payload: bytes) -> ClientMessage:
        if opcode != CLOSE:
            return ClientMessage(opcode, payload)
        self._closed = True
        if not payload:
            return ClientMessage(CLOSE, "", CloseCode.NO_STATUS)  # 7.1.5
        code = int.from_bytes(payload[:2], "big")  # half a code is none either
        if not valid_close_code(code):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "close code is not valid")  # 7.4
        try:
            return ClientMessage(CLOSE, payload[2:].decode(), code)
        except UnicodeDecodeError:
            raise ProtocolError(CloseCode.INVALID_DATA, "close reason is not UTF-8") from None  # 5.5.1

    def _too_big(self) -> ProtocolError:
        return ProtocolError(CloseCode.TOO_BIG, f"message longer than {self._max_size} bytes")
