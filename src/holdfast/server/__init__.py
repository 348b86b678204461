"""A WebSocket protocol class for Uvicorn that hands live connections over to the hub.

``uvicorn --ws holdfast.server:WebSocketProtocol``, or ``manage.py holdfast serve``, which sets it up.
"""

from .http import HttpProtocol
from .server import Server
from .websocket import WebSocketProtocol

__all__ = ["HttpProtocol", "Server", "WebSocketProtocol"]
