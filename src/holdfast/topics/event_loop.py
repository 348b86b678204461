"""The guard of methods that wait: they may not be called where they would stop an event loop."""

import asyncio
import os

from django.core.exceptions import SynchronousOnlyOperation


def forbid_event_loop(problem: str) -> None:
    """Raise ``SynchronousOnlyOperation``, saying ``problem``, when called on an event loop.

    ``DJANGO_ALLOW_ASYNC_UNSAFE`` turns it off, as it does for Django's own check; notebooks set it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    if not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        raise SynchronousOnlyOperation(problem)
