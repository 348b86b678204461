"""Calls from any thread onto one event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVarTuple

Args = TypeVarTuple("Args")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that the calling thread runs, if it runs one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[*Args], object], *args: *Args) -> bool:
    """Call ``callback`` on ``loop``: now, if the calling thread runs that loop, otherwise in the loop's next turn.

    Return ``False``, without a call, if the loop is closed. An exception of ``callback`` reaches the caller only if the
    call is made now.
    """
    if running_loop() is loop:
        callback(*args)
        return True
    return call_soon_on(loop, callback, *args)


def call_soon_on(loop: asyncio.AbstractEventLoop, callback: Callable[[*Args], object], *args: *Args) -> bool:
    """Call ``callback`` in the next turn of ``loop``. Return ``False`` if the loop is closed."""
    try:
        if running_loop() is loop:
            loop.call_soon(callback, *args)
        else:
            loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:  # the loop is closed
        return False
    return True
