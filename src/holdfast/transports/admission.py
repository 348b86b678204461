"""Refuses handshakes beyond the limits of a process or of an address, before anything else is done for them."""

import asyncio
import logging
import math
import time
from typing import Any

from holdfast.auth.address import network_of
from holdfast.connections.admission import Admission
from holdfast.connections.boundary import Boundary

from .authentication import Scope, Send, address_of, refuse
from .refusals import RefusalLog

logger = logging.getLogger("holdfast.limits")

_refusals = RefusalLog(logger, time.monotonic())


async def admit(boundary: Boundary, scope: Scope, send: Send) -> Admission | None:
    """Count the handshake. ``None``: it has been refused, with 429 or 503 and ``Retry-After``.

    A browser's script cannot read the status: for it the connection was lost, and Holdfast's client comes back with
    backoff.
    """
    address = address_of(scope)
    network = None if address is None else network_of(address)
    found: Any = await boundary.admit(network, asyncio.get_running_loop().time())
    if isinstance(found, Admission):
        return found
    _refusals.note(f"Handshakes are refused: {found.reason}, and more came.", time.monotonic())
    wait = str(math.ceil(found.retry_after)).encode()
    await refuse(scope, send, found.status, "Too many connections; try again later.", (b"retry-after", wait))
    return None
