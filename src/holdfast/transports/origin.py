"""Refuses WebSockets from pages of foreign origins, before anything else sees them."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from holdfast.auth.host import own_origin
from holdfast.auth.origins import Origin
from holdfast.protocol import codec as codecs
from holdfast.protocol import codes

from .handshake import Handshake
from .refusals import RefusalLog, shown

logger = logging.getLogger("holdfast.origin")

Scope = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
Admits = Callable[[str | None, Origin | None], bool]
HasSession = Callable[[Headers], bool]


class OriginCheck:
    """ASGI middleware that checks the origin of WebSockets.

    ``admits`` decides by the value of the ``Origin`` header and the origin that the client has connected to, which is ``None``
    if the handshake names no host of this server. ``has_session`` returns whether the headers carry a session cookie.

    Browsers attach cookies to a handshake whatever page opens it. This check therefore keeps other sites from using a
    visitor's session. It runs before authentication. Its answer to a browser depends on the two origins only: not on cookies,
    path or topics.

    Every browser sends an ``Origin`` (RFC 6455, section 4.1, item 8); scripts and mobile apps often do not. A handshake
    without the header is admitted if it has no session cookie either: it is then anonymous, or carries a token. A handshake
    with several is refused: no browser sends them.

    A page cannot read the status of a refused handshake; its script sees a lost connection like any other. A Holdfast client,
    known by its subprotocol, therefore completes the handshake and is closed at once with ``origin_refused``, which is final.
    All others get the 403 of RFC 6455, section 4.2.2.
    """

    def __init__(
        self,
        application: Application,
        admits: Admits,
        has_session: HasSession,
    ) -> None:
        self._application = application
        self._admits = admits
        self._has_session = has_session
        self._refusals = RefusalLog(logger, time.monotonic())

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"the origin check takes WebSocket connections, but was called with scope type {scope['type']!r}"
            )
        headers: Headers = list(scope.get("headers", ()))
        sent = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        origin = sent[0] if len(sent) == 1 else None
        own = own_origin(headers, scope.get("scheme", "ws"))
        if len(sent) <= 1 and (self._admits(origin, own) or (not sent and not self._has_session(headers))):
            await self._application(scope, receive, send)
            return
        self._refusals.note(explained("A WebSocket", sent, own), time.monotonic())
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or []
        codec = codecs.choose(offered) if offered and origin is not None else None
        handshake, refused = Handshake(scope, send, "websocket"), codes.ORIGIN_REFUSED
        if codec is None:
            handshake.report(refused, status=403)
            await send({"type": "websocket.close"})
            return
        handshake.report(refused, close_code=refused.close)
        await send({"type": "websocket.accept", "subprotocol": codec.name})
        await send({"type": "websocket.close", "code": refused.close, "reason": refused.message})


def explained(what: str, sent: list[str], own: Origin | None) -> str:
    """Return why ``what`` was refused, for the log: from the origins that the client sent and the one that it has connected to."""
    if not sent:
        return (
            f"{what} with a session's cookie and without an Origin header was refused: no page of this site opened it. Let a "
            "program send the origin of this site, or leave the cookie out and authenticate by a token."
        )
    if len(sent) > 1:
        return (
            f"{what} with several Origin headers was refused: browsers send one. Let the program do the same."
        )
    (origin,) = sent
    if origin == "null":
        return (
            f"{what} from the origin 'null' was refused: a sandboxed page or a file opened it. Serve the page from a "
            "host that is allowed."
        )
    quoted = shown(origin)
    return (
        f"{what} from a page of {quoted} was refused: {_difference(Origin.parse(origin), own)} Otherwise, if the page is "
        f'yours, add {quoted} to HOLDFAST["ORIGINS"].'
    )


def _difference(origin: Origin | None, own: Origin | None) -> str:
    """Say in what a page's origin differs from that of the request, and what to do if a proxy has caused that."""
    if own is None:
        return (
            "the handshake names no host, or one that ALLOWED_HOSTS does not allow. If a proxy is in front, let it pass the "
            "browser's Host header on."
        )
    text = shown(str(own))
    if origin is not None and origin.host == own.host:
        if origin.scheme != own.scheme:
            return (
                f"this server takes its own origin for {text}, which has another scheme. If TLS ends at a proxy, let it send "
                "X-Forwarded-Proto, and set SECURE_PROXY_SSL_HEADER."
            )
        return (
            f"this server takes its own origin for {text}, which has another port. If a proxy is in front, let it pass the "
            "Host header on with its port."
        )
    return (
        f'its origin is not that of the handshake ({text}), and neither CSRF_TRUSTED_ORIGINS nor HOLDFAST["ORIGINS"] has it. '
        "If a proxy is in front, let it pass the browser's Host header on."
    )
