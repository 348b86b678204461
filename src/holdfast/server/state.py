"""States of a WebSocket connection."""

from enum import Enum


class SocketState(Enum):
    CONNECTING = "waiting for the request"
    HANDSHAKE = "waiting for the application's decision"
    DENYING = "being denied"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    ADOPTED = "given away"
