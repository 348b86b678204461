"""Authentication of ASGI handshakes: makes the request for the authenticator, and answers a handshake that it refuses."""

import asyncio
import logging
import math
import time

from django.conf import settings

from holdfast.auth.base import Authenticator, AuthRequest, Identity
from holdfast.auth.expiry import means_expired
from holdfast.auth.host import host_of
from holdfast.auth.presented import presented
from holdfast.connections.boundary import Boundary
from holdfast.protocol import codes
from holdfast.topics.failures import Verdict, report, report_unauthenticated, verdict_of
from holdfast.topics.owner import UserWithoutKey

from .handshake import Handshake, Scope, address_of
from .refusals import RefusalLog

logger = logging.getLogger("holdfast.authentication")

CHALLENGE = (b"www-authenticate", b'Bearer error="invalid_token"')
"""RFC 6750, section 3."""

TOO_MANY_TOKENS = "Too many tokens of this address were not valid; try again later."

_refusals = RefusalLog(logger, time.monotonic())


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


async def identify(authenticator: Authenticator, boundary: Boundary, handshake: Handshake) -> Identity | None:
    """Return the identity of the client that opens a connection. ``None``: the handshake has been refused.

    401 says that the token or ticket of the handshake is not valid, 403 that the client may not connect, 429 that too many tokens
    of its address were not valid. 503 says that it should come back later, because a database or a session store did not answer: to
    admit the client as an anonymous one would be final. Any other exception is raised.
    """
    request = request_of(handshake.scope)
    presents = request.token is not None or bool(request.tickets)
    network, now = handshake.network, asyncio.get_running_loop().time()
    if presents and (wait := boundary.token_wait(network, now)):
        handshake.report_limit("failed_tokens", wait)
        retry = (b"retry-after", str(math.ceil(wait)).encode())
        await handshake.refuse(429, codes.RATE_LIMITED, retry, text=TOO_MANY_TOKENS, retry_after=wait)
        return None
    expired = False
    why: Exception | None = None
    try:
        identity = await authenticator.authenticate(request)
        if identity is not None:
            identity.user_id  # noqa: B018 - raises UserWithoutKey
    except UserWithoutKey as error:
        _refusals.note(f"A client was refused: {error}.", time.monotonic())
        identity, why = None, error
    except Exception as error:
        match verdict_of(error):
            # By the authenticator, or by the project's context manager: nothing is at this host.
            case Verdict.DENIED:
                identity, expired, why = None, means_expired(error), error
            case Verdict.UNAVAILABLE:
                report(logger, "a client could not be authenticated", error)
                await handshake.refuse(503, codes.UNAVAILABLE, (b"retry-after", b"1"), retry_after=1.0)
                return None
            case _:
                raise
    if identity is not None and not identity.expired:
        return identity
    if not presents:
        await handshake.refuse(403, codes.UNAUTHENTICATED)
    else:
        expired = expired or identity is not None
        if not expired:
            boundary.token_failed(network, now)
            if settings.DEBUG and not isinstance(why, UserWithoutKey):  # which has been noted
                report_unauthenticated(logger, "the token or ticket of a handshake", why)
        await handshake.refuse(401, codes.TOKEN_EXPIRED if expired else codes.UNAUTHENTICATED, CHALLENGE)
    return None
