"""Log of requests in the format of Django's development server."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from holdfast.server.redaction import without_ticket

logger = logging.getLogger("django.server")


class RequestLog:
    """ASGI middleware that logs each response to the logger ``django.server``, whose formatter adds the colours."""

    def __init__(self, application: ASGI3Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        line = _Line(scope)

        async def noting(event: Any) -> None:
            line.note(event)
            if event["type"] == "holdfast.adopt":
                event = {**event, "adopt": line.following(event["adopt"])}
            elif offer := event.get("holdfast.adopt"):
                event = {**event, "holdfast.adopt": {**offer, "adopt": line.noting(offer["adopt"])}}
            await send(event)

        try:
            await self._application(scope, receive, noting)
        finally:
            line.application_ended()


def printable(text: str) -> str:
    """Return a text on one line: what does not print, and the quote, becomes an escape sequence such as ``\\n``."""
    if text.isprintable() and '"' not in text:
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character == '"':
        return "%22"
    return character if character.isprintable() else ascii(character)[1:-1]


class _Followed:
    """Proxy of an adopted connection that calls ``ended`` when the connection closes."""

    def __init__(self, peer: Any, ended: Callable[[], None]) -> None:
        self._peer = peer
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._peer, name)

    def closed(self) -> None:
        self._peer.closed()
        self._ended()


class _Line:
    def __init__(self, scope: Any) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        path = scope.get("root_path", "") * (not scope["path"].startswith(scope.get("root_path", "")))
        # The path is decoded: %0A in it would begin a line that looks like the server's own, and %1B a terminal's commands.
        self._target = printable(without_ticket(f"{path}{scope['path']}{'?' + query if query else ''}"))
        self._method = scope.get("method", "WebSocket")
        self._version = scope.get("http_version", "1.1")
        self._status, self._size, self._open, self._adopted = 0, 0, False, False

    def note(self, event: Any) -> None:
        match event["type"]:
            case "http.response.start" | "websocket.http.response.start":
                self._status = event["status"]
            case "http.response.body" | "websocket.http.response.body":
                self._size += len(event.get("body", b""))
                if not event.get("more_body", False):
                    self._write(
                        f'"{self._method} {self._target} HTTP/{self._version}" {self._status} {self._size}'
                    )
            case "websocket.accept" | "holdfast.adopt":
                self._open, self._status = True, 101
                self._write(f'"WebSocket {self._target}" connected')
            case "websocket.close" if not self._open:
                self._status = 403
                self._write(f'"WebSocket {self._target}" refused')

    def following(self, adopt: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Follow an adopted connection: it outlives the application's call and ends when its socket closes."""
        self._adopted = True
        return lambda sink: _Followed(adopt(sink), self.end)

    def noting(self, adopt: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Log an event stream once it is adopted: its body has no end that this middleware could see."""

        def adopted(transport: Any) -> Any:
            self._write(f'"{self._method} {self._target} HTTP/{self._version}" {self._status} -')
            return adopt(transport)

        return adopted

    def application_ended(self) -> None:
        if not self._adopted:
            self.end()

    def end(self) -> None:
        if self._open:
            self._write(f'"WebSocket {self._target}" ended')

    def _write(self, text: str) -> None:
        now = datetime.now().astimezone().strftime("%d/%b/%Y %H:%M:%S")
        level = (
            logging.ERROR if self._status >= 500 else logging.WARNING if self._status >= 400 else logging.INFO
        )
        logger.log(level, "%s", text, extra={"server_time": now, "status_code": self._status})
