"""Parser of a client's frames: bytes become messages. It knows no socket and no task.

Section numbers in comments are those of RFC 6455. A server reads masked frames only (5.1).
"""

import codecs
import time
from collections.abc import Callable
from typing import Final

import msgspec

from .deflate import Deflate, TooMuch
from .framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL_BYTES,
    FIN,
    MASK,
    OVERSIZED,
    PONG,
    RSV1,
    TEXT,
    WHOLE_BINARY,
    WHOLE_TEXT,
    ClientMessage,
    CloseCode,
    ProtocolError,
    TooManyFrames,
    valid_close_code,
)
from .masking import apply_mask


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the frames that complete no message: control frames, and fragments below ``small`` bytes.

    ``at_once`` of them may come at once, and ``per_second`` on average. ``per_turn`` frames of any kind are parsed before
    :meth:`Parser.feed` returns.
    """

    at_once: int = 100
    per_second: float = 50.0
    small: int = 1024
    per_turn: int = 8


PACE: Final = Pace()
"""The pace of all connections of the server."""


class _Fragments:
    """A message whose last fragment has not arrived (5.4)."""

    __slots__ = ("compressed", "data", "decoder", "last", "left", "opcode", "oversized", "size")

    def __init__(self, opcode: int, compressed: bool) -> None:
        self.opcode = opcode
        self.compressed = compressed
        self.data = bytearray()  # not a list: tiny fragments would make that many times larger
        self.size = 0  # bytes of all its fragments so far
        self.oversized = False
        self.left = 0  # bytes of the current fragment that are still to be dropped, if it is oversized
        self.last = False  # is that the last one?
        checks_text = opcode == TEXT and not compressed
        self.decoder = codecs.getincrementaldecoder("utf-8")() if checks_text else None

    def add(self, payload: bytes) -> None:
        self.data += payload
        self.size += len(payload)
        if self.decoder is not None:
            try:
                self.decoder.decode(payload)
            except UnicodeDecodeError:
                raise ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8") from None  # 8.1

    def drop(self, size: int, last: bool) -> None:
        """Begin to drop a fragment of this size, and everything before it."""
        self.oversized, self.left, self.last = True, size, last
        self.size += size
        self.data.clear()


class Parser:
    """Parser of one client's frames.

    ``max_size`` bounds a message in bytes, before and after inflating. A longer one is a :class:`ProtocolError`. A message of
    more than ``keep`` bytes is dropped while it arrives, and reported as ``OVERSIZED`` at its end. The parser thus never holds
    more than ``keep`` bytes of a message and one portion of what arrived, whatever lengths the client declares. With a
    ``pace`` it also bounds the frames that complete no message (:class:`TooManyFrames`), by ``clock``.
    """

    __slots__ = (
        "_clock",
        "_closed",
        "_deflate",
        "_due",
        "_expects_close",
        "_fragments",
        "_keep",
        "_max_size",
        "_needed",
        "_pace",
        "_rest",
        "between",
        "completed",
        "more",
    )

    def __init__(
        self,
        max_size: int,
        deflate: Deflate | None = None,
        *,
        keep: int | None = None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_size = max_size
        self._keep = max_size if keep is None else min(keep, max_size)
        self._deflate = deflate
        self._pace = pace
        self._clock = clock
        self._due = 0.0
        self._rest: bytearray | None = (
            None  # an incomplete frame, or complete ones that are to be parsed in a later turn
        )
        self._needed = 0  # bytes of it that must be there before it is parsed again
        self._fragments: _Fragments | None = None
        self._closed = False
        self._expects_close = False
        self.more = False
        """Are complete frames left? Then ``feed(b"")`` goes on with them."""
        self.completed = 0
        """Messages that were completed off the short way of :meth:`feed`."""
        self.between = self._keep >= CONTROL_BYTES
        """Is no message or frame begun? (And does a short message fit? If not, it is always ``False``.)"""

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame or message."""
        fragments = 0 if self._fragments is None else len(self._fragments.data)
        return fragments + (0 if self._rest is None else len(self._rest))

    @property
    def unfinished(self) -> bool:
        """Is a message or frame begun whose end has not arrived?"""
        return self._rest is not None or self._fragments is not None

    def expect_close(self) -> None:
        """Bound frames of every kind from now on: the client may only finish what it sends, and answer the close."""
        self._expects_close, self.between = True, False

    def stop(self) -> None:
        """Parse nothing more."""
        self._closed, self.between, self.more, self._rest, self._fragments = True, False, False, None, None

    def feed(self, data: bytes) -> list[ClientMessage]:
        """Parse bytes in any portions and return the messages they complete.

        Raises :class:`ProtocolError`, once. After that, and after a close frame, nothing is read (5.5.1, 7.1.7).
        """
        # By far most reads bring one short message, whole. This saves two thirds of its cost.
        size = len(data) - 6
        if self.between and 0 <= size <= CONTROL_BYTES and data[1] == MASK | size:
            if data[0] == WHOLE_TEXT:
                try:
                    return [ClientMessage(TEXT, apply_mask(data[6:], data[2:6]).decode())]
                except UnicodeDecodeError:
                    pass  # reported below
            elif data[0] == WHOLE_BINARY:
                return [ClientMessage(BINARY, apply_mask(data[6:], data[2:6]))]
        elif self.between and size > CONTROL_BYTES and (message := self._long(data)) is not None:
            return [message]
        return [] if self._closed else self._feed(data)

    def _long(self, data: bytes) -> ClientMessage | None:
        """Return the message that ``data`` is if it is one of medium length, whole; most calls are. This saves half of its cost."""
        size = len(data) - 8
        if data[1] != MASK | 126 or data[2] << 8 | data[3] != size or not CONTROL_BYTES < size <= self._keep:
            return None
        if data[0] == WHOLE_BINARY:
            return ClientMessage(BINARY, apply_mask(data[8:], data[4:8]))
        if data[0] != WHOLE_TEXT:
            return None
        try:
            return ClientMessage(TEXT, apply_mask(data[8:], data[4:8]).decode())
        except UnicodeDecodeError:
            return None  # reported by the general way

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
            self.stop()
            error.before = messages
            raise
        if self._closed:
            self.stop()
        else:
            self._rest = bytearray(buffer[at:]) if at < len(buffer) else None
            self.between = not (self.unfinished or self._expects_close) and self._keep >= CONTROL_BYTES
        return messages

    def _frames(self, buffer: bytes | bytearray, messages: list[ClientMessage]) -> int:
        """Parse complete frames and return where the rest begins."""
        at, end, frames = 0, len(buffer), 0
        per_turn = end if self._pace is None else self._pace.per_turn
        self.more = False
        while not self._closed:
            fragments = self._fragments
            if fragments is not None and fragments.oversized and (fragments.left or fragments.last):
                at += self._drop(fragments, end - at, messages)
                if fragments.left:
                    break
                continue
            if frames >= per_turn and at < end:
                self.more, self._needed = True, 0
                break
            start, size = self._header(buffer, at, end)
            stop = start if size < 0 else start + 4 + size
            if size >= 0 and not buffer[at] & 0x8 and self._oversized(size):
                if start + 4 > end:
                    self._needed = start + 4 - at
                    break
                self._begin_to_drop(buffer[at], size)
                at, frames = start + 4, frames + 1
                continue
            if stop > end:
                self._needed = stop - at
                break
            payload = apply_mask(buffer[start + 4 : stop], buffer[start : start + 4]) if size else b""
            message = self._take(buffer[at], payload)
            if message is not None:
                messages.append(message)
            at, frames = stop, frames + 1
        return at

    # ── messages that are too long ────────────────────────────────────────────────────────────────────────────────────

    def _oversized(self, size: int) -> bool:
        fragments = self._fragments
        return (
            size > self._keep
            if fragments is None
            else fragments.oversized or fragments.size + size > self._keep
        )

    def _begin_to_drop(self, first: int, size: int) -> None:
        if self._fragments is None:
            self._fragments = _Fragments(first & 0xF, compressed=False)
        final = bool(first & FIN)
        if self._expects_close or (not final and size < self._small):
            self._spend()
        self._fragments.drop(size, final)

    def _drop(self, fragments: _Fragments, there: int, messages: list[ClientMessage]) -> int:
        """Drop of the current fragment what is there. Return how many bytes that was."""
        dropped = min(fragments.left, there)
        fragments.left -= dropped
        if fragments.last and not fragments.left:
            self._fragments = None
            self.completed += 1
            messages.append(ClientMessage(OVERSIZED, b""))
        return dropped

    # ── the pace ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _small(self) -> int:
        return 0 if self._pace is None else self._pace.small

    def _spend(self) -> None:
        """Count a frame that completes no message.

        A bucket as a single number, the time at which it would be full again (the generic cell rate algorithm of ATM).
        """
        pace = self._pace
        if pace is not None:
            now = self._clock()
            self._due = max(self._due, now) + 1 / pace.per_second
            # The half absorbs the error of the sum.
            if self._due > now + (pace.at_once + 0.5) / pace.per_second:
                raise TooManyFrames

    # ── frames ────────────────────────────────────────────────────────────────────────────────────────────────────────

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
            before = 0 if self._fragments is None else self._fragments.size
            if before + size > self._max_size:
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
        if self._expects_close or (not final and len(payload) < self._small):
            self._spend()
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
        self.completed += 1
        if compressed:
            assert self._deflate is not None
            try:
                payload = self._deflate.inflate(payload, self._keep)
            except TooMuch:
                if self._keep < self._max_size:
                    return ClientMessage(OVERSIZED, b"")
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
            self._spend()
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
