"""Tokens that arrive on a living connection, in a ``hello`` or a ``refresh``."""

import asyncio
import logging

from holdfast.auth.base import Identity
from holdfast.auth.expiry import means_expired
from holdfast.protocol import codes
from holdfast.protocol.codes import Code
from holdfast.topics.failures import Verdict, report_unauthenticated, verdict_of

from . import notices
from .manager import ConnectionManager

logger = logging.getLogger("holdfast.connections")


async def identity_of_token(
    manager: ConnectionManager, identity: Identity, token: str, peer: notices.Peer
) -> Identity | Code:
    """Return the identity of a token that arrived on the connection of ``identity``, or the code that says why it has none."""
    now, network, boundary = asyncio.get_running_loop().time(), identity.network, manager.boundary
    if wait := boundary.token_wait(network, now):
        if notices.LIMIT_HIT.wanted:
            notices.LIMIT_HIT.send(peer, limit="failed_tokens", retry_after=wait, topic=None)
        return codes.UNAVAILABLE
    try:
        found = await manager.authenticate(identity.with_token(token))
    except Exception as error:  # noqa: BLE001 - reported there
        report_unauthenticated(logger, "a token", error)
        if means_expired(error):
            return codes.TOKEN_EXPIRED
        if verdict_of(error) is Verdict.UNAVAILABLE:
            return codes.UNAVAILABLE
        boundary.token_failed(network, now)
        return codes.INVALID_TOKEN
    if found is None or found.user_id is None:
        report_unauthenticated(logger, "a token", None)
        boundary.token_failed(network, now)
        return codes.INVALID_TOKEN
    return codes.TOKEN_EXPIRED if found.expired else found
