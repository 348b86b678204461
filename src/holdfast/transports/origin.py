"""Refuses WebSockets from pages of foreign origins, before anything else looks at them."""

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from holdfast.protocol import codec as codecs
from holdfast.protocol import codes
from holdfast.session.bucket import Bucket

logger = logging.getLogger("holdfast.origin")

REMEMBERED = 256
"""Refused origins that are known to have been logged."""

LOGGED_AT_ONCE = 20
LOGGED_PER_SECOND = 1 / 6
"""Clients choose what they send as an origin. More new ones than this are refused without a line in the log."""

SHOWN = 200
"""Characters of an origin in the log."""

Scope = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


class OriginCheck:
    """ASGI middleware for WebSockets; ``admits`` decides by the ``Origin`` header, which may be missing.

    Browsers attach cookies to a handshake whatever page opens it, so this check is what keeps other sites from using a
    visitor's session. It comes before authentication, and what it answers depends on nothing but the origin: not on the
    cookies, the path or the topics.

    A page cannot read the status of a refused handshake (for its script, that is a lost connection like any other). A
    client of ours, known by its subprotocol, is therefore let through the handshake and closed at once with
    ``origin_refused``, which is final. Every other one gets the 403 of RFC 6455, section 4.2.2.
    """

    def __init__(self, application: Application, admits: Callable[[str | None], bool]) -> None:
        self._application = application
        self._admits = admits
        self._refusals = RefusalLog(time.monotonic())

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            raise ValueError(f"the check of origins is for WebSockets, not for scope type {scope['type']!r}")
        origin = _origin_of(scope)
        if self._admits(origin):
            await self._application(scope, receive, send)
            return
        self._refusals.note(origin, time.monotonic())
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or []
        codec = codecs.choose(offered) if offered and origin is not None else None
        if codec is None:
            await send({"type": "websocket.close"})
            return
        refused = codes.ORIGIN_REFUSED
        await send({"type": "websocket.accept", "subprotocol": codec.name})
        await send({"type": "websocket.close", "code": refused.close, "reason": refused.message})


def _origin_of(scope: Scope) -> str | None:
    """The header's value. Two of them are as good as none."""
    found = [value for name, value in scope.get("headers", ()) if name == b"origin"]
    return found[0].decode("latin-1") if len(found) == 1 else None


class RefusalLog:
    """Logs each refused origin once, in bounded memory and at a bounded rate."""

    def __init__(self, now: float) -> None:
        self._logged: OrderedDict[str | None, None] = OrderedDict()
        self._bucket = Bucket(LOGGED_AT_ONCE, LOGGED_PER_SECOND, now)

    def note(self, origin: str | None, now: float) -> None:
        key = None if origin is None else origin[:SHOWN]
        if key in self._logged:
            self._logged.move_to_end(key)
            return
        if self._bucket.take(now) > 0:
            return
        self._logged[key] = None
        if len(self._logged) > REMEMBERED:
            self._logged.popitem(last=False)
        logger.warning("%s This is logged once for each origin.", _explained(key))


def _explained(origin: str | None) -> str:
    if origin is None:
        return (
            "A WebSocket without an Origin header was refused: no browser opened it. Let the program send the origin of "
            "this site."
        )
    if origin == "null":
        return (
            "A WebSocket from the origin 'null' was refused: a sandboxed page or a file opened it. Serve the page from a "
            "host that is allowed."
        )
    return (
        f"A WebSocket from a page of {origin!r} was refused: its host is not in ALLOWED_HOSTS, and the origin not in "
        f'HOLDFAST["ORIGINS"]. If the page is yours, add {origin!r} to HOLDFAST["ORIGINS"]; otherwise leave it refused.'
    )
