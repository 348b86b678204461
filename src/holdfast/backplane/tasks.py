"""Ending tasks that run other people's code."""

import asyncio
from collections.abc import Iterable

STOP_SECONDS = 2.0
"""How long to wait for them to end."""

AGAIN_SECONDS = 0.25
"""After how long one that has not ended is cancelled again."""


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel ``tasks`` until they have ended, or for :data:`STOP_SECONDS`.

    Once is not always enough: before Python 3.12 ``asyncio.wait_for``, with which redis-py writes, swallows a
    cancellation that comes just when it is done (https://github.com/python/cpython/issues/86296).
    """
    left = set(tasks)
    for _ in range(int(STOP_SECONDS / AGAIN_SECONDS)):
        if not left:
            break
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
