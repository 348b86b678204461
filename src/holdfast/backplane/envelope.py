"""Envelope of one ``PUBLISH``: its sender, a mark if messages before it were lost, and any number of messages.

::

    kind (1 byte)   sender (8 bytes)   { length (4 bytes, big-endian)   message }…

Messages of one topic that wait together go out in one envelope, so Redis and each receiver handle them as one.
"""

import struct
from collections.abc import Iterator, Sequence

WHOLE = 1
"""Kind of an envelope before which no message was lost, as far as its sender knows."""

GAP = 2
"""Kind of an envelope before which messages of the same sender for this topic may have been lost."""

SENDER_BYTES = 8
HEADER_BYTES = 1 + SENDER_BYTES

_LENGTH = struct.Struct(">I")


class NotAnEnvelope(ValueError):
    """The bytes were not written by :func:`join`."""


def heading(sender: bytes, *, gap: bool) -> bytes:
    """Return the beginning of an envelope. Any number of messages may follow, each after its length."""
    return bytes([GAP if gap else WHOLE]) + sender


def join(sender: bytes, messages: Sequence[bytes], *, gap: bool) -> bytes:
    """Put ``messages`` into one envelope, in order."""
    parts = [heading(sender, gap=gap)]
    for message in messages:
        parts.append(_LENGTH.pack(len(message)))
        parts.append(message)
    return b"".join(parts)


def sender_of(envelope: bytes) -> bytes:
    return envelope[1:HEADER_BYTES]


def has_gap(envelope: bytes) -> bool:
    return envelope[:1] == b"\x02"


def split(envelope: bytes) -> Iterator[bytes]:
    """Yield the messages of an envelope, in order. Raises :class:`NotAnEnvelope`, at the latest after the last of them."""
    if len(envelope) < HEADER_BYTES or envelope[0] not in (WHOLE, GAP):
        raise NotAnEnvelope("its header is invalid")
    at, end = HEADER_BYTES, len(envelope)
    while at < end:
        if end - at < _LENGTH.size:
            raise NotAnEnvelope("it ends within a length")
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(envelope, at)[0]
        if at > end:
            raise NotAnEnvelope("it ends within a message")
        yield envelope[start:at]
