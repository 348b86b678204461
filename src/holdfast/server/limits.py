"""Bounds of what a client may send, and of the time it may take."""

from typing import Final

PORTION_BYTES: Final = 16 * 1024
"""Bytes of one connection that are handled in one turn of the event loop."""

HEAD_BYTES: Final = 16 * 1024
"""Bytes of a request's target and headers. nginx and Apache have bounds of this size."""

HEAD_FIELDS: Final = 100
"""Header fields of a request."""

HEAD_SECONDS: Final = 10.0
"""Seconds from the first byte of a request, or from the start of the connection, to the end of the request's head."""

HANDSHAKE_SECONDS: Final = 30.0
"""Seconds that the application may take to answer a WebSocket's handshake. After a deploy, many wait for a database at once."""

BODY_BYTES: Final = 100 * 1024 * 1024
"""Bytes of a request's body, unless the server's configuration has its own ``limit_request_body``."""

BODY_SECONDS: Final = 30.0
"""Seconds without a byte after which a request's body is given up."""

PIPELINED: Final = 8
"""Requests that may wait for the answers to earlier ones of their connection."""

MESSAGE_SECONDS: Final = 30.0
"""Seconds from the first byte of a WebSocket message to its last. A client that takes longer has lost its network."""

UNREAD_SECONDS: Final = 30.0
"""Seconds in which a client must read something of a response that waits for it, as ``send_timeout`` of nginx."""

LINGER_SECONDS: Final = 1.0
"""Seconds that a refused client may take to read why. Closing at once could destroy the reason on its way (RFC 9112, 9.6)."""
