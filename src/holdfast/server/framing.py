"""Frames of RFC 6455: their constants, the messages that they carry, and how a server writes them.

Section numbers in comments are those of RFC 6455. :mod:`.parser` reads what a client writes.
"""

from enum import IntEnum
from typing import Final

import msgspec

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

OVERSIZED: Final = -1
"""In place of the opcode of a message that was longer than the connection takes. Its data was dropped."""

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

    For a ``CLOSE``, ``data`` is the reason and ``code`` the close code (1005: it had none). An ``OVERSIZED`` one has no data.
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


class TooManyFrames(ProtocolError):
    """The client sends far more frames than messages."""

    def __init__(self) -> None:
        super().__init__(CloseCode.POLICY_VIOLATION, "too many control frames or small fragments")


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
