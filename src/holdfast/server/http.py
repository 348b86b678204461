"""Uvicorn's HTTP protocol class with a correction for WebSockets and a property for draining."""

import asyncio
import sys

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class HttpProtocol(HttpToolsProtocol):
    """Keeps the bytes that arrive in the same read as an upgrade request.

    Uvicorn writes the request out again for the WebSocket protocol and drops what followed it. A client must not send
    anything before it has the answer (RFC 6455, 4.1). Some clients do, and a proxy may buffer both and send them together.
    """

    _received = b""

    @property
    def idle(self) -> bool:
        """Has every request on it been answered?"""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    def data_received(self, data: bytes) -> None:
        self._received = data
        try:
            super().data_received(data)
        finally:
            self._received = b""

    def handle_websocket_upgrade(self) -> None:
        error = sys.exception()  # httptools reports in it where the request ended
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(error, httptools.HttpParserUpgrade) and isinstance(protocol, asyncio.Protocol):
            rest = self._received[error.args[0] :]
            if rest:
                protocol.data_received(rest)
