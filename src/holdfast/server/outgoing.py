"""Frames of the messages that an ASGI application sends."""

from typing import Any, cast

from . import framing
from .deflate import Deflate
from .framing import BINARY, TEXT

COMPRESS_BYTES = 512
"""Shorter messages are sent uncompressed: deflate would cost more than it saves (docs/benchmarks.md)."""


def frame_of(message: dict[str, Any], deflate: Deflate | None) -> bytes:
    """Return the frame of a ``websocket.send``, compressed if ``deflate`` is agreed on and worth it."""
    text, data = message.get("text"), message.get("bytes")
    if data is None and text is None:
        raise ValueError("'websocket.send' needs 'text' or 'bytes', but has neither.")
    opcode, payload = (TEXT, cast("str", text).encode()) if data is None else (BINARY, data)
    if deflate is not None and len(payload) >= COMPRESS_BYTES:
        return framing.encode(opcode, deflate.deflate(payload), compressed=True)
    return framing.encode(opcode, payload)
