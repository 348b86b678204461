"""Frames that one process writes to another one of the same machine, one for each message.

::

    kind (1 byte)   message length (4 bytes, big-endian)   topic length (2 bytes)   topic   message
"""

import struct
from collections.abc import Iterator

MESSAGE = 1
GAP = 2
"""Kind of a frame without topic and message. It says that frames before it were dropped."""

_HEADER = struct.Struct(">BIH")


class NotAFrameError(ValueError):
    """The bytes were not written by :func:`frame`."""


def frame(topic: str, message: bytes) -> bytes:
    name = topic.encode("utf-8", "surrogatepass")
    return b"".join((_HEADER.pack(MESSAGE, len(message), len(name)), name, message))


GAP_FRAME = _HEADER.pack(GAP, 0, 0)


def frames(buffer: bytearray) -> Iterator[tuple[str, bytes] | None]:
    """Take the complete frames out of ``buffer``, in order; ``None`` stands for a gap. Raises :class:`NotAFrameError`."""
    at, end = 0, len(buffer)
    try:
        while end - at >= _HEADER.size:
            kind, length, name_length = _HEADER.unpack_from(buffer, at)
            if kind not in (MESSAGE, GAP):
                raise NotAFrameError(f"its kind is {kind}")
            start = at + _HEADER.size + name_length
            if start + length > end:
                break
            name = bytes(buffer[at + _HEADER.size : start])
            message = bytes(buffer[start : start + length])
            at = start + length
            yield None if kind == GAP else (name.decode("utf-8", "surrogatepass"), message)
    finally:
        del buffer[:at]
