"""permessage-deflate (RFC 7692) without context takeover, in both directions.

No context is kept from one message to the next, so a compressed event is the same bytes for every client that
negotiated it, and is made once per process. Connections hold no window of their own.
"""

import zlib

TAIL = b"\x00\x00\xff\xff"  # RFC 7692, 7.2.1: left out on the wire
RESPONSE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class TooMuch(Exception):
    """A message inflates to more than it may."""


class Deflate:
    """The extension as both sides agreed on it. It has no state: one object serves every connection."""

    def __init__(self, level: int = 6) -> None:
        self._level = level

    def deflate(self, payload: bytes) -> bytes:
        packer = zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS)
        return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]

    def inflate(self, payload: bytes, max_size: int) -> bytes:
        """Raises :class:`TooMuch`, and ``ValueError`` when the data is no deflate stream."""
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(payload + TAIL, max_size + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(data) > max_size or unpacker.unconsumed_tail:
            raise TooMuch
        return data


def negotiate(offers: str) -> bool:
    """Does the client offer a permessage-deflate that this side can agree to? (RFC 7692, 5.1 and 7.1)

    Every offer can be met with :data:`RESPONSE` (a client must take ``client_no_context_takeover`` whether it offered it
    or not, 7.1.1.2) but one that asks for a smaller window of the server than zlib's largest, or that has an unknown,
    repeated or wrong parameter: such an offer is declined (7.1).
    """
    return any(_acceptable(offer) for offer in offers.split(","))


def _acceptable(offer: str) -> bool:
    name, *parameters = [part.strip() for part in offer.split(";")]
    if name.lower() != "permessage-deflate":
        return False
    seen: set[str] = set()
    for parameter in parameters:
        key, equals, value = (part.strip() for part in parameter.partition("="))
        value = value.strip('"')
        if key in seen:
            return False
        seen.add(key)
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if equals:
                return False
        elif key == "client_max_window_bits":
            if equals and not _bits(value):
                return False
        elif key != "server_max_window_bits" or value != "15":
            return False
    return True


def _bits(value: str) -> bool:
    return value.isdecimal() and not value.startswith("0") and 8 <= int(value) <= 15
