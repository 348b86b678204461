"""Origin check and CORS headers of the HTTP endpoints: event streams, polling and calls."""

import logging
import time
from typing import Any

from holdfast.auth.host import own_origin
from holdfast.auth.origins import Origin
from holdfast.protocol import codes

from .asgi import Message, Receive, Scope, Send
from .handshake import CODE_HEADER, Handshake
from .http_errors import fail, payload_of
from .origin import Admits, Application, HasSession, Headers, explained
from .refusals import RefusalLog
from .responses import respond

logger = logging.getLogger("holdfast.origin")

OWN_SITES = (b"same-origin", b"none")
"""Values of ``Sec-Fetch-Site`` for a page of this origin, and for a request that the user has started themselves."""

MAX_AGE = b"600"
"""Seconds for which a browser keeps the answer to a preflight."""

ALLOWED_HEADERS = b"content-type, authorization, x-csrftoken, last-event-id"
EXPOSED_HEADERS = b"retry-after, holdfast-code"


class HttpOriginCheck:
    """ASGI middleware around one HTTP endpoint, with the rule of :class:`~.origin.OriginCheck`.

    A page of a foreign origin gets 403, which ends an ``EventSource``. A page of an origin that the settings allow gets CORS
    headers on every answer, and answers to its preflights (Fetch Standard, section 3.2). ``method`` is that of the endpoint.

    Browsers send no ``Origin`` with a GET of their own origin, nor with one that needs no CORS, such as that of an ``<img>``. A
    GET without it but with a session's cookie is therefore refused if ``Sec-Fetch-Site`` says that another site has caused it. A
    POST with a session's cookie needs Django's CSRF token besides.
    """

    def __init__(
        self, application: Application, admits: Admits, has_session: HasSession, *, method: str, name: str
    ) -> None:
        self._application = application
        self._admits = admits
        self._has_session = has_session
        self._method = method
        self._name = name
        self._refusals = RefusalLog(logger, time.monotonic())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = list(scope.get("headers", ()))
        sent = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        own = own_origin(headers, scope.get("scheme", "http"))
        if not self._allows(headers, sent, own):
            await self._refuse(scope, send, sent, own)
            return
        if not sent:
            await self._application(scope, receive, send)
            return
        (origin,) = sent
        cors = _cors(origin, foreign=Origin.parse(origin) != own)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *cors]}
            await send(message)

        if scope["method"] == "OPTIONS" and _value(headers, b"access-control-request-method") is not None:
            await self._answer_preflight(send_with_cors)
        else:
            await self._application(scope, receive, send_with_cors)

    def _allows(self, headers: Headers, sent: list[str], own: Origin | None) -> bool:
        if len(sent) > 1:
            return False
        if sent:
            return self._admits(sent[0], own)
        site = _value(headers, b"sec-fetch-site")
        if site is None or site in OWN_SITES or not self._has_session(headers):
            return True
        return self._admits(None, own)

    async def _refuse(self, scope: Scope, send: Send, sent: list[str], own: Origin | None) -> None:
        self._refusals.note(explained(f"A request ({self._name})", sent, own), time.monotonic())
        Handshake(scope, send, self._name).report(codes.ORIGIN_REFUSED, status=403)
        if self._method == "POST":
            await fail(send, payload_of(codes.ORIGIN_REFUSED))
        else:
            code = (CODE_HEADER, codes.ORIGIN_REFUSED.name.encode())
            await respond(scope, send, 403, f"{codes.ORIGIN_REFUSED.message}\n", code)

    async def _answer_preflight(self, send: Any) -> None:
        headers = [
            (b"access-control-allow-methods", self._method.encode()),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", MAX_AGE),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _cors(origin: str, *, foreign: bool) -> list[tuple[bytes, bytes]]:
    if not foreign:
        return [(b"vary", b"Origin")]
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", EXPOSED_HEADERS),
        (b"vary", b"Origin"),
    ]


def _value(headers: Headers, name: bytes) -> bytes | None:
    return next((value for header, value in headers if header == name), None)
