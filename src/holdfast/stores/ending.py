"""What a process does last: those who still have something to hand over do so, for a bounded time."""

import atexit
import os
import sys
import time
import weakref
from typing import Protocol

EXIT_SECONDS = 3.0
"""How long a process that ends waits, at most, for what is still queued."""


class Flushable(Protocol):
    def flush(self, timeout: float) -> bool:
        """Hand over what there is, for at most ``timeout`` seconds; say whether nothing is left."""


_flushed: weakref.WeakSet[Flushable] = weakref.WeakSet()
_watched: int | None = None


def flush_at_exit(thing: Flushable) -> None:
    """Give ``thing`` the chance to hand over what it still has when the interpreter exits."""
    _flushed.add(thing)


def flush_when_a_forked_worker_ends() -> None:
    """A child of ``multiprocessing`` ends by ``os._exit`` and runs only the finalizers of that module. To be called by the
    process itself, as what its parent asked for counts for the parent only; once is enough."""
    global _watched
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _watched != os.getpid():
        _watched = os.getpid()
        util.Finalize(None, _flush_all, exitpriority=100)


def _flush_all() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for thing in list(_flushed):
        thing.flush(max(0.0, deadline - time.monotonic()))


atexit.register(_flush_all)
