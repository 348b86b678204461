"""A WebSocket server for Uvicorn that gives live connections to the hub.

``uvicorn --ws holdfast.server:WebSocketProtocol`` uses it; ``manage.py holdfast serve`` sets everything up. Here live the
protocol classes, RFC 6455 without I/O (handshake, frames, compression), adoption, and draining. The package builds on Uvicorn
and may import everything below it, of Holdfast mainly the transport contract in ``connections`` and prepared events in ``hub``.
"""

from .http import HttpProtocol
from .server import Server
from .websocket import WebSocketProtocol

__all__ = ["HttpProtocol", "Server", "WebSocketProtocol"]
