"""Calls of a client that has not joined the topic, as by POST: its rules decide what the answer may say."""

import asyncio
import logging

from holdfast.protocol import codes
from holdfast.protocol.server_protocol import RETRY_SECONDS
from holdfast.threads.threads import Threads
from holdfast.threads.turns import Kind
from holdfast.topics.failures import code_of, detail_of, report
from holdfast.topics.topic import Topic

from .authorization import admits
from .caller import ConnectionCaller
from .request import CallFailed

logger = logging.getLogger("holdfast.calls")

EARLY = frozenset(
    code.name
    for code in (
        codes.UNKNOWN_ACTION,
        codes.INVALID_PAYLOAD,
        codes.RATE_LIMITED,
        codes.TOO_MANY_CALLS,
        codes.KEY_REUSED,
        codes.UNAVAILABLE,
    )
)
"""Errors that a call can get before the rules are asked. They say that the topic exists, so only a client that may join it gets
them: see :func:`check_admitted`."""


async def check_admitted(threads: Threads, topic: Topic | None, caller: ConnectionCaller) -> None:
    """Raise :class:`CallFailed` unless the topic admits the caller. ``None`` stands for a name that no route matches."""
    loop, context = asyncio.get_running_loop(), threads.context((Kind.DECISION, caller.limit_key))
    try:
        admitted = await loop.create_task(admits(threads, topic, caller.identity), context=context)
    except Exception as error:
        report(logger, f"the rules of {topic!r} failed for {caller!r}", error)
        code = code_of(error)
        wait = RETRY_SECONDS if code.retry else None
        raise CallFailed.of(code, detail=detail_of(error) or "", retry_after=wait) from error
    if not admitted:
        raise CallFailed.of(codes.FORBIDDEN)
