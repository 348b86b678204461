"""Where a WebSocket connection is on its way."""

from enum import Enum


class ConnectionState(Enum):
    CONNECTING = "waiting for the request"
    HANDSHAKE = "waiting for the application's decision"
    DENYING = "being denied"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    ADOPTED = "given away"
