"""Frames as a client writes them, valid and invalid, and the parsers of other libraries as oracles."""

import random
from collections.abc import Iterator

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from holdfast.server.framing import ClientMessage, ProtocolError
from holdfast.server.parser import Parser

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

MASK = b"\x37\xfa\x21\x3d"  # of the examples in RFC 6455, 5.7


def masked(data: bytes, mask: bytes = MASK) -> bytes:
    """Masking as section 5.3 describes it."""
    return bytes(octet ^ mask[i % 4] for i, octet in enumerate(data))


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """Encode a frame of the client. ``length`` declares another length than the real one; ``width`` writes it in 0, 2 or 8 more bytes."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data) if length is None else length
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    short, extended = {
        0: (size, b""),
        2: (126, size.to_bytes(2, "big") if width == 2 else b""),
        8: (127, size.to_bytes(8, "big")),
    }[width]
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    second = (0x80 if mask is not None else 0) | short
    body = data if mask is None else mask + masked(data, mask)
    return bytes((first, second)) + extended + body


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


Outcome = tuple[list[ClientMessage], tuple[int, str] | None]


def read(parser: Parser, *portions: bytes) -> Outcome:
    """Return all messages, and the error at the end if there was one."""
    messages: list[ClientMessage] = []
    failure: tuple[int, str] | None = None
    for portion in portions:
        try:
            messages += parser.feed(portion)
        except ProtocolError as error:
            assert failure is None, "a parser fails once"
            messages += error.before
            failure = (int(error.code), error.reason)
    return messages, failure


def portions(data: bytes, source: random.Random, largest: int = 0) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = source.randint(1, largest or len(data))
        yield data[at : at + size]
        at += size


def oracle(*, deflate: bool = False, max_size: int | None = None) -> ClientProtocol:
    """The client of the websockets library after its handshake."""
    client = ClientProtocol(parse_uri("ws://harbor.example/"), state=OPEN, max_size=max_size)
    if deflate:
        client.extensions = [PerMessageDeflate(True, True, 12, 15)]
    return client


def understood(data: bytes, *, deflate: bool = False) -> list[Frame]:
    """Return what the library's client reads from the server's bytes."""
    client = oracle(deflate=deflate)
    client.receive_data(data)
    assert client.parser_exc is None, client.parser_exc
    return [event for event in client.events_received() if isinstance(event, Frame)]


__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "MASK",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "Opcode",
    "Outcome",
    "close",
    "frame",
    "masked",
    "oracle",
    "portions",
    "read",
    "understood",
]
