"""Uvicorn's HTTP protocol, with one thing mended for WebSockets."""

from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpProtocol(HttpToolsProtocol):
    """Keeps the bytes that arrive in the same read as an upgrade request.

    Uvicorn writes the request out again for the WebSocket protocol and forgets what came behind it. A client may not send
    anything before it has the answer (RFC 6455, 4.1), but some do, and a proxy may hold both back and send them together.
    """

    def data_received(self, data: bytes) -> None:
        self._received = data
        super().data_received(data)
        self._received = b""

    def handle_websocket_upgrade(self) -> None:
        error = cast("Any", _handled())
        super().handle_websocket_upgrade()
        rest = self._received[error.args[0] :] if error is not None and error.args else b""
        protocol: Any = self.transport.get_protocol()
        if rest and protocol is not self:
            protocol.data_received(rest)


def _handled() -> BaseException | None:
    """The exception that is being handled: httptools says with it where the request ended."""
    import sys

    error = sys.exc_info()[1]
    return error if isinstance(error, httptools.HttpParserUpgrade) else None
