"""Refuses WebSockets from pages of foreign origins, before anything else looks at them."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from holdfast.protocol import codec as codecs
from holdfast.protocol import codes

from .refusals import RefusalLog, shown

logger = logging.getLogger("holdfast.origin")

Scope = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]


class OriginCheck:
    """ASGI middleware for WebSockets. ``admits`` decides by the value of the ``Origin`` header; ``has_session`` says whether
    the headers bring a session's cookie.

    Browsers attach cookies to a handshake whatever page opens it, so this check is what keeps other sites from using a
    visitor's session. It comes before authentication, and what it answers to a browser depends on nothing but the origin:
    not on the cookies, the path or the topics.

    Every browser sends an ``Origin`` (RFC 6455, section 4.1, item 8), scripts and mobile apps often do not. A handshake
    without the header is let in if it has no session's cookie either: it then is anonymous, or brings a token.

    A page cannot read the status of a refused handshake (for its script, that is a lost connection like any other). A
    client of ours, known by its subprotocol, is therefore let through the handshake and closed at once with
    ``origin_refused``, which is final. Every other one gets the 403 of RFC 6455, section 4.2.2.
    """

    def __init__(
        self,
        application: Application,
        admits: Callable[[str | None], bool],
        has_session: Callable[[Headers], bool],
    ) -> None:
        self._application = application
        self._admits = admits
        self._has_session = has_session
        self._refusals = RefusalLog(logger, time.monotonic())

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            raise ValueError(f"the check of origins is for WebSockets, not for scope type {scope['type']!r}")
        headers: Headers = list(scope.get("headers", ()))
        sent = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        origin = sent[0] if len(sent) == 1 else None
        if self._admits(origin) or (not sent and not self._has_session(headers)):
            await self._application(scope, receive, send)
            return
        self._refusals.note(_explained(sent), time.monotonic())
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or []
        codec = codecs.choose(offered) if offered and origin is not None else None
        if codec is None:
            await send({"type": "websocket.close"})
            return
        refused = codes.ORIGIN_REFUSED
        await send({"type": "websocket.accept", "subprotocol": codec.name})
        await send({"type": "websocket.close", "code": refused.close, "reason": refused.message})


def _explained(sent: list[str]) -> str:
    """The reason for the log, of what the client sent as its origin."""
    if not sent:
        return (
            "A WebSocket with a session's cookie and without an Origin header was refused: no browser opened it. Let the "
            "program send the origin of this site, or leave the cookie out and authenticate by a token."
        )
    if len(sent) > 1:
        return "A WebSocket with several Origin headers was refused: browsers send one. Let the program do the same."
    (origin,) = sent
    if origin == "null":
        return (
            "A WebSocket from the origin 'null' was refused: a sandboxed page or a file opened it. Serve the page from a "
            "host that is allowed."
        )
    quoted = shown(origin)
    return (
        f"A WebSocket from a page of {quoted} was refused: its host is not in ALLOWED_HOSTS, and the origin not in "
        f'HOLDFAST["ORIGINS"]. If the page is yours, add {quoted} to HOLDFAST["ORIGINS"]; otherwise leave it refused.'
    )
