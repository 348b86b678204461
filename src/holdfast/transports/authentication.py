"""Authentication of ASGI handshakes: makes the request for the authenticator, and answers a handshake that it refuses."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from holdfast.auth.address import network_of
from holdfast.auth.base import Authenticator, AuthRequest, Identity
from holdfast.auth.expiry import means_expired
from holdfast.auth.host import host_of
from holdfast.auth.presented import presented
from holdfast.connections.boundary import Boundary
from holdfast.protocol import codes
from holdfast.topics.failures import Verdict, report, verdict_of
from holdfast.topics.owner import UserWithoutKey

from .refusals import RefusalLog

logger = logging.getLogger("holdfast.authentication")

CHALLENGE = (b"www-authenticate", b'Bearer error="invalid_token"')
"""RFC 6750, section 3."""

_refusals = RefusalLog(logger, time.monotonic())

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


async def identify(
    authenticator: Authenticator, scope: Scope, send: Send, boundary: Boundary | None
) -> Identity | None:
    """Return the identity of the client that opens a connection, or that calls by POST. ``None``: the request has been refused.

    ``boundary`` counts the tokens and tickets that are not valid. 429 says that too many from this address were not, so that this
    one is not looked at. 401 says that the token or ticket of the handshake is not valid, 403 that the client may not connect. 503 says that it should
    come back later, because a database or a session store did not answer: to admit the client as an anonymous one would be final.
    Any other exception is raised.
    """
    request = request_of(scope)
    secret = request.token is not None or bool(request.tickets)
    network = network_of(request.address) if secret and request.address is not None else None
    loop = asyncio.get_running_loop()
    if boundary is not None and (wait := boundary.token_wait(network, loop.time())):
        _refusals.note(
            "Tokens are refused: too many of one address were not valid (FAILED_TOKENS).", time.monotonic()
        )
        why = "Too many tokens of this address were not valid; try again later."
        await refuse(scope, send, 429, why, (b"retry-after", str(math.ceil(wait)).encode()))
        return None
    expired = False
    try:
        identity = await authenticator.authenticate(request)
        if identity is not None:
            identity.user_id  # noqa: B018 - raises UserWithoutKey
    except UserWithoutKey as error:
        _refusals.note(f"A client was refused: {error}.", time.monotonic())
        identity = None
    except Exception as error:
        match verdict_of(error):
            case (
                Verdict.DENIED
            ):  # by the authenticator, or by the project's context manager: nothing is at this host
                identity, expired = None, means_expired(error)
            case Verdict.UNAVAILABLE:
                report(logger, "a client could not be authenticated", error)
                await refuse(scope, send, 503, codes.UNAVAILABLE.message, (b"retry-after", b"1"))
                return None
            case _:
                raise
    if identity is not None and not identity.expired:
        return identity
    if not secret:
        await refuse(scope, send, 403, codes.UNAUTHENTICATED.message)
    else:
        if boundary is not None and identity is None and not expired:
            boundary.token_failed(network, loop.time())
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
