"""``flush``: wait until everything that this process has published has left it."""

import asyncio

from holdfast import runtime
from holdfast.process.shutdown import EXIT_SECONDS

from .event_loop import forbid_event_loop


def flush(timeout: float = EXIT_SECONDS) -> bool:
    """Wait until everything published in this process has been handed over, for at most ``timeout`` seconds. Return whether
    nothing is left.

    ``publish`` returns when durable events are in the log. Messages to other processes leave a moment later, from a thread
    in the background; ephemeral events consist of such a message only. A process that exits, or calls ``os._exit``, flushes
    by itself. Call this before something else ends the process, such as ``os.execv`` or a signal that kills it.

    Commands that the log has not accepted yet, such as a logout, are tried again. The call also waits for what other threads
    publish before it returns. It does not wait for events of an uncommitted transaction, which are not published yet, nor
    for messages that the backplane has given up as lost. Raises ``SynchronousOnlyOperation`` on an event loop.
    """
    forbid_event_loop(
        "holdfast.flush() waits for what may have to happen on this event loop; write: await holdfast.aflush()"
    )
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
