"""Handshakes that go straight to the authentication, without a transport."""

from typing import Any

from holdfast.auth.base import Authenticator, Identity
from holdfast.connections.boundary import Boundary, BoundaryPolicy
from holdfast.connections.registry import ConnectionRegistry
from holdfast.metrics import Counters
from holdfast.protocol.limits import Limits
from holdfast.transports.authentication import identify
from holdfast.transports.handshake import Handshake


def boundary(**policy: Any) -> Boundary:
    """Return a boundary with only the limits that ``policy`` names."""
    return Boundary(BoundaryPolicy(**policy), Limits(), ConnectionRegistry(), Counters())


async def identified(
    authenticator: Authenticator, scope: Any, send: Any, bounds: Boundary | None = None
) -> Identity | None:
    return await identify(authenticator, bounds or boundary(), Handshake(scope, send, "websocket"))
