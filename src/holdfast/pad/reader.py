"""``UpdateReader``: the binary encoding of Yjs (lib0), read with bounds.

Numbers are little-endian base 128, texts and bytes carry their length first. The format:
https://github.com/dmonad/lib0/blob/main/decoding.js
"""

import json
from typing import Never

LARGEST = 2**53 - 1
"""The largest number that JavaScript can count to. Yjs fails on a larger one."""

DEEPEST = 100
"""Values may be nested this deep. Deeper ones overflow the stack of some decoders."""


class Malformed(ValueError):
    """The bytes are not what Yjs would have written."""


class UpdateReader:
    """Reads one sequence of bytes from its beginning to its end. Each method raises :class:`Malformed` where it cannot."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def end(self) -> None:
        """Check that everything has been read."""
        if self._at != len(self._data):
            raise Malformed(f"{len(self._data) - self._at} bytes too many")

    def byte(self) -> int:
        try:
            value = self._data[self._at]
        except IndexError:
            raise Malformed("it ends too early") from None
        self._at += 1
        return value

    def number(self) -> int:
        """An integer from zero to 2^53 - 1."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if value > LARGEST:
                raise Malformed("a number is too large")
            if byte < 0x80:
                return value
            shift += 7
            if shift > 56:
                raise Malformed("a number is too long")

    def skip(self, length: int) -> None:
        if length > len(self._data) - self._at:
            raise Malformed("it ends too early")
        self._at += length

    def bytes(self) -> bytes:
        length = self.number()
        start = self._at
        self.skip(length)
        return self._data[start : self._at]

    def text(self) -> str:
        try:
            return self.bytes().decode()
        except UnicodeDecodeError:
            raise Malformed("a text is not UTF-8") from None

    def json(self) -> None:
        """A text that ``JSON.parse`` takes."""
        text = self.text()
        try:
            json.loads(text, parse_constant=_not_json)
        except RecursionError:
            raise Malformed("a value is nested too deep") from None
        except ValueError as error:
            raise Malformed(f"a value is not JSON: {error}") from None

    def any(self, depth: int = 0) -> None:
        """A value in the encoding that lib0 calls ``any``."""
        if depth > DEEPEST:
            raise Malformed("a value is nested too deep")
        kind = self.byte()
        if kind in _FIXED:
            self.skip(_FIXED[kind])
        elif kind == 125:
            self._signed()
        elif kind == 119:
            self.text()
        elif kind == 118:
            for _ in range(self.number()):
                self.text()
                self.any(depth + 1)
        elif kind == 117:
            for _ in range(self.number()):
                self.any(depth + 1)
        elif kind == 116:
            self.bytes()
        else:
            raise Malformed(f"a value has the unknown type {kind}")

    def _signed(self) -> None:
        byte = self.byte()
        value, shift = byte & 0x3F, 6
        while byte & 0x80:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if value > LARGEST or shift > 62:
                raise Malformed("a number is too large")


_FIXED = {127: 0, 126: 0, 124: 4, 123: 8, 122: 8, 121: 0, 120: 0}
"""Types with a fixed number of bytes: undefined, null, float32, float64, bigint, false, true."""


def _not_json(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
