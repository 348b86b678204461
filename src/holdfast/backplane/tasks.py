"""Cancellation of tasks that run code of other libraries."""

import asyncio
from collections.abc import Iterable

STOP_SECONDS = 2.0
"""Seconds to wait for them to end."""

AGAIN_SECONDS = 0.25
"""Seconds after which a task that has not ended is cancelled again."""


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel ``tasks`` until they have ended, or for :data:`STOP_SECONDS`.

    Once is not always enough: before Python 3.12 ``asyncio.wait_for``, with which redis-py writes, swallows a
    cancellation that arrives just as it completes (https://github.com/python/cpython/issues/86296).
    """
    left = set(tasks)
    for _ in range(int(STOP_SECONDS / AGAIN_SECONDS)):
        if not left:
            break
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
