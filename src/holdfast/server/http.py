"""Uvicorn's HTTP protocol, with one thing mended for WebSockets, and one question answered for draining."""

import asyncio
import sys

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class HttpProtocol(HttpToolsProtocol):
    """Keeps the bytes that arrive in the same read as an upgrade request.

    Uvicorn writes the request out again for the WebSocket protocol and forgets what came behind it. A client may not send
    anything before it has the answer (RFC 6455, 4.1), but some do, and a proxy may hold both back and send them together.
    """

    _received = b""

    @property
    def idle(self) -> bool:
        """Is there no request on it that still has to be answered?"""
        cycle: RequestResponseCycle | None = self.cycle  # there is none before the first request
        return cycle is None or cycle.response_complete

    def data_received(self, data: bytes) -> None:
        self._received = data
        try:
            super().data_received(data)
        finally:
            self._received = b""

    def handle_websocket_upgrade(self) -> None:
        error = sys.exception()  # httptools says with it where the request ended
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(error, httptools.HttpParserUpgrade) and isinstance(protocol, asyncio.Protocol):
            rest = self._received[error.args[0] :]
            if rest:
                protocol.data_received(rest)
