"""Answers live connections in an application without live topics, instead of an error in the application.

The ``asgi.py`` of ``startproject`` is such an application. Otherwise each attempt of each browser would get a 500, and the log
a traceback.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler

from holdfast.protocol import codec as codecs
from holdfast.protocol import codes

from .script_name import path_info

logger = logging.getLogger("holdfast.asgi")

REASON = "The application of this server has no live topics; its log says more."

LOGGED_EVERY_SECONDS = 60.0
"""Clients retry again and again, and the log line is the same each time."""

Scope = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


class WithoutLiveTopics:
    """ASGI middleware around an application that has no live topics: refuses WebSockets to their ``path``."""

    def __init__(self, application: Application, path: str) -> None:
        self._application = application
        self._path = path
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if _is_live(scope, self._path):
            await self._refusals.refuse(scope, receive, send)
        else:
            await self._application(scope, receive, send)


def answer_for_django(path: Callable[[], str]) -> None:
    """Make Django's own ASGI application refuse live connections too, on every server.

    Django raises ``ValueError`` for each WebSocket. No setting changes that; this function therefore wraps its ``__call__``.
    HTTP, and WebSockets to other paths, still reach Django. ``path`` is called at each WebSocket.
    """
    by_django: Any = ASGIHandler.__call__
    refusals = Refusals()

    async def __call__(self: ASGIHandler, scope: Scope, receive: Any, send: Any) -> None:  # noqa: N807
        if _is_live(scope, path):
            await refusals.refuse(scope, receive, send)
        else:
            await by_django(self, scope, receive, send)

    ASGIHandler.__call__ = __call__  # type: ignore[method-assign]


def _is_live(scope: Scope, path: str | Callable[[], str]) -> bool:
    if scope["type"] != "websocket":
        return False
    return path_info(scope) == (path if isinstance(path, str) else path())


class Refusals:
    """Refuses connections, and logs that once a minute.

    A Holdfast client, known by its subprotocol, completes the handshake and is closed with ``unavailable``. It retries with
    backoff, and finds the topics once the developer has added them. All other clients get a 403.
    """

    def __init__(self) -> None:
        self._next_line = 0.0

    async def refuse(self, scope: Scope, receive: Any, send: Any) -> None:
        self._log(scope["path"], time.monotonic())
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or []
        codec = codecs.choose(offered) if offered else None
        if codec is None:
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": codec.name})
        await send({"type": "websocket.close", "code": codes.UNAVAILABLE.close, "reason": REASON})

    def _log(self, path: str, now: float) -> None:
        if now < self._next_line:
            return
        self._next_line = now + LOGGED_EVERY_SECONDS
        logger.error(
            "A live connection was refused at %s: the application that this server runs has no live topics. Wrap Django's "
            "application in asgi.py with holdfast.asgi.with_live_topics; the system check holdfast.W021 says how. This is "
            "logged once a minute.",
            path,
        )
