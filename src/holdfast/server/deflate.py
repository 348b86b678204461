"""The extension permessage-deflate (RFC 7692) without context takeover, in both directions.

No context is kept from one message to the next. A compressed event is therefore the same bytes for every client that
negotiated the extension, and is made once per process. Connections hold no window of their own.
"""

import zlib

TAIL = b"\x00\x00\xff\xff"  # RFC 7692, 7.2.1: omitted on the wire

WINDOW_BITS = 12
"""Sent data refers back at most 4 KB. Messages are short, and this takes a quarter of the time of zlib's 32 KB (18 µs for 2.7 KB
of JSON instead of 75) for 3 % more bytes. Clients that ask for a window this small get it."""

_MEMORY_LEVEL = 6
_STREAMS = 16
"""Deflate streams that one message may consist of (7.2.3.4). In practice there is never a second one."""

_AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class TooMuch(Exception):
    """A message inflates to more than its limit."""


class Deflate:
    """The extension as negotiated. It has no state: one object serves all connections."""

    def __init__(self, level: int = 6) -> None:
        self._level = level

    def deflate(self, payload: bytes) -> bytes:
        packer = zlib.compressobj(self._level, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)
        return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]

    def inflate(self, payload: bytes | bytearray, max_size: int) -> bytes:
        """Return the inflated payload. Raises :class:`TooMuch`, and ``ValueError`` if the data is not a deflate stream."""
        rest = bytes(payload) + TAIL
        data = b""
        for _ in range(_STREAMS):
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data += unpacker.decompress(rest, max_size + 1 - len(data))
            except zlib.error as error:
                raise ValueError(str(error)) from None
            if len(data) > max_size:
                raise TooMuch
            rest = unpacker.unused_data
            if not rest:
                return data
        raise ValueError("too many deflate streams in one message")


DEFLATE = Deflate()
"""The one that all connections use."""


def negotiate(offers: str) -> str | None:
    """Return the response to the first offer in ``Sec-WebSocket-Extensions`` that can be accepted (RFC 7692, 5.1, 7.1).

    A client must accept ``client_no_context_takeover`` whether it offered it or not (7.1.1.2). An offer is declined if it asks
    for a smaller window than :data:`WINDOW_BITS`, or has an unknown, repeated or invalid parameter (7.1).
    """
    for offer in offers.split(","):
        response = _respond(offer)
        if response is not None:
            return response
    return None


def _respond(offer: str) -> str | None:
    name, *parameters = [part.strip() for part in offer.split(";")]
    if name.lower() != "permessage-deflate":
        return None
    response = _AGREED
    seen: set[str] = set()
    for parameter in parameters:
        key, equals, value = (part.strip() for part in parameter.partition("="))
        if key in seen:
            return None
        seen.add(key)
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if equals:
                return None
        elif key == "client_max_window_bits":
            if equals and _bits(value) is None:
                return None
        elif key == "server_max_window_bits":
            if (_bits(value) or 0) < WINDOW_BITS:
                return None
            response += f"; server_max_window_bits={WINDOW_BITS}"  # 7.1.2.1: must be confirmed
        else:
            return None
    return response


def _bits(value: str) -> int | None:
    """Parse a window size (7.1.2): 8 to 15, without leading zeros. It may be quoted (RFC 6455, 9.1)."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return int(value) if value in ("8", "9", "10", "11", "12", "13", "14", "15") else None
