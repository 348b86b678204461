"""Refuses handshakes beyond the limits of a process or of an address, before anything else is done for them."""

import asyncio
import logging
import math
import time
from typing import Any

from holdfast.connections.admission import Admission
from holdfast.connections.boundary import Boundary
from holdfast.protocol import codes

from .handshake import Handshake
from .refusals import RefusalLog

logger = logging.getLogger("holdfast.limits")

_refusals = RefusalLog(logger, time.monotonic())


async def admit(boundary: Boundary, handshake: Handshake) -> Admission | None:
    """Count the handshake. ``None``: it has been refused, with 429 or 503 and ``Retry-After``.

    A browser's script cannot read the status: for it the connection was lost, and Holdfast's client comes back with
    backoff.
    """
    found: Any = await boundary.admit(handshake.network, asyncio.get_running_loop().time())
    if isinstance(found, Admission):
        return found
    _refusals.note(f"Handshakes are refused: {found.reason}, and more came.", time.monotonic())
    handshake.report_limit(found.limit, found.retry_after)
    wait = str(math.ceil(found.retry_after)).encode()
    await handshake.refuse(
        found.status,
        codes.RATE_LIMITED,
        (b"retry-after", wait),
        text="Too many connections; try again later.",
        retry_after=found.retry_after,
    )
    return None
