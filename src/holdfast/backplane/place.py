"""Where a process's messages are carried: on its receiving event loop or, if it has none, on the courier's."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from .courier import CourierLoop, courier


class Place:
    """Of any thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """The receiving loop."""

    @property
    def bound(self) -> bool:
        return self.loop is not None and not self.loop.is_closed()

    @property
    def stopped(self) -> bool:
        """Was the receiving loop left without a word, so that what was to happen there never will?"""
        return self.loop is not None and not self.loop.is_running()

    def call_soon(self, callback: Callable[[], object], *, used_by: object) -> bool:
        """Call it there; False if the interpreter is ending, and no thread can be started any more."""
        loop = self.loop
        try:
            if loop is not None:
                if running_loop() is loop:
                    loop.call_soon(callback)
                else:
                    loop.call_soon_threadsafe(callback)
                return True
        except RuntimeError:  # closed without stop()
            self.loop = None
        try:
            courier.call_soon(callback, used_by=used_by)
        except RuntimeError:
            return False
        return True


def set_aside() -> AbstractContextManager[None]:
    """Around logging in what runs on a loop: where threads are greenlets, a handler that waits lets others run, which must not
    find the courier's loop running."""
    loop = running_loop()
    return loop.set_aside() if isinstance(loop, CourierLoop) else nullcontext()


def running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
