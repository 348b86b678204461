"""Waiting until what this process has published has left it."""

import asyncio
import os

from django.core.exceptions import SynchronousOnlyOperation

from holdfast.hub import runtime
from holdfast.process.shutdown import EXIT_SECONDS


def flush(timeout: float = EXIT_SECONDS) -> bool:
    """Wait until what was published in this process has been handed over, for at most ``timeout`` seconds; return whether
    nothing is left.

    ``publish`` returns when durable events are in the log. The news for other processes, which for ephemeral events is all
    there is, leaves a moment later, from a thread in the background. A process that exits, or calls ``os._exit``, flushes by
    itself; call this before something else ends the process, such as ``os.execv`` or a signal that kills it.

    Orders such as a logout that the log has not taken yet are tried again. It also waits for what
    other threads publish before it returns. It does not wait for events of a transaction that has not committed, which are
    not published yet, nor for what the backplane has given up as lost. Raises ``SynchronousOnlyOperation`` on an event loop.
    """
    if not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):  # as Django's own check; notebooks set it
        _forbid_event_loop()
    return _flush(timeout)


async def aflush(timeout: float = EXIT_SECONDS) -> bool:
    """As :func:`flush`, for ``async`` code."""
    return await asyncio.to_thread(_flush, timeout)


def _flush(timeout: float) -> bool:
    seconds: object = timeout
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise TypeError(f"flush(timeout={timeout!r}): expected a number of seconds, such as timeout=5")
    parts = runtime.built()
    return parts is None or parts.flush(timeout)


def _forbid_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        "holdfast.flush() waits for what may have to happen on this event loop; write: await holdfast.aflush()"
    )
