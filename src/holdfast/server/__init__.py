"""A WebSocket protocol class for Uvicorn that hands live connections over to the hub.

``uvicorn --ws holdfast.server:WebSocketProtocol``, or ``manage.py holdfast serve``, which sets it up.
"""

from .http import HttpProtocol
from .protocol import WebSocketProtocol
from .server import Server

__all__ = ["HttpProtocol", "Server", "WebSocketProtocol"]
