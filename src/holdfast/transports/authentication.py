"""Authentication of ASGI handshakes: makes the request for the authenticator, and answers a handshake that it refuses."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from holdfast.auth.base import Authenticator, AuthRequest, Identity
from holdfast.auth.host import host_of
from holdfast.auth.presented import presented
from holdfast.protocol import codes
from holdfast.topics.failures import Verdict, report, verdict_of

logger = logging.getLogger("holdfast.authentication")

CHALLENGE = (b"www-authenticate", b'Bearer error="invalid_token"')
"""RFC 6750, section 3."""

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def request_of(scope: Scope) -> AuthRequest:
    """Return what a scope of ASGI (``http`` or ``websocket``) says about the client."""
    headers = scope["headers"]
    token, scheme, fault = presented(headers, scope.get("subprotocols") or ())
    return AuthRequest(
        headers=headers,
        token=token,
        scheme=scheme,
        fault=fault,
        user=scope.get("user"),
        session=scope.get("session"),
        host=host_of(headers),
        address=address_of(scope),
        query_string=scope.get("query_string", b"").decode("latin-1"),
    )


def address_of(scope: Scope) -> str | None:
    """Return the client's address as the server reports it."""
    client = scope.get("client")
    return client[0] if client else None


async def identify(authenticator: Authenticator, scope: Scope, send: Send) -> Identity | None:
    """Return the identity of the client that opens a connection. ``None``: the handshake has been refused.

    401 says that the token or ticket of the handshake is not valid, 403 that the client may not connect. 503 says that it should
    come back later, because a database or a session store did not answer: to admit the client as an anonymous one would be final.
    Any other exception is raised.
    """
    request = request_of(scope)
    try:
        identity = await authenticator.authenticate(request)
    except Exception as error:
        match verdict_of(error):
            case (
                Verdict.DENIED
            ):  # by the authenticator, or by the project's context manager: nothing is at this host
                identity = None
            case Verdict.UNAVAILABLE:
                report(logger, "a client could not be authenticated", error)
                await refuse(scope, send, 503, codes.UNAVAILABLE.message, (b"retry-after", b"1"))
                return None
            case _:
                raise
    if identity is not None and not identity.expired:
        return identity
    if request.token is None and not request.tickets:
        await refuse(scope, send, 403, codes.UNAUTHENTICATED.message)
    else:
        await refuse(scope, send, 401, codes.UNAUTHENTICATED.message, CHALLENGE)
    return None


async def refuse(scope: Scope, send: Send, status: int, why: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer the handshake, if the server can send a response to a WebSocket's; a close becomes a 403."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if status == 403 or kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})  # browsers cannot tell the difference
            return
    sent = [(b"content-type", b"text/plain; charset=utf-8"), *headers]
    await send({"type": f"{kind}.start", "status": status, "headers": sent})
    await send({"type": f"{kind}.body", "body": why.encode()})
