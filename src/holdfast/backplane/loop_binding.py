"""Choice of the event loop that sends a process's messages: its receiving loop or, if it has none, the background loop."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from holdfast.process.loops import call_soon_on, running_loop

from .background_loop import CooperativeLoop, background_loop


class LoopBinding:
    """The loop of one queue. May be used from any thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """The receiving loop."""

    @property
    def bound(self) -> bool:
        return self.loop is not None and not self.loop.is_closed()

    @property
    def stopped(self) -> bool:
        """Has the receiving loop ended without ``stop()``, so that callbacks scheduled there will never run?"""
        return self.loop is not None and not self.loop.is_running()

    def call_soon(self, callback: Callable[[], object], *, used_by: object) -> bool:
        """Call ``callback`` there. Return ``False`` if the interpreter is ending, and no thread can be started any more."""
        if self.loop is not None:
            if call_soon_on(self.loop, callback):
                return True
            self.loop = None  # closed without stop()
        try:
            background_loop.call_soon(callback, used_by=used_by)
        except RuntimeError:
            return False
        return True


def set_aside() -> AbstractContextManager[None]:
    """Context for logging in code that runs on a loop.

    Where threads are greenlets, a log handler that waits lets other greenlets run. They must not find the background loop
    running.
    """
    loop = running_loop()
    return loop.set_aside() if isinstance(loop, CooperativeLoop) else nullcontext()
