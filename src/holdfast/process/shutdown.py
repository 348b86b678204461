"""The end of a process: what still waits in it is handed over, for a bounded time.

A process that ends by itself ends in one of two ways. The interpreter exits, and runs what :mod:`atexit` knows. Or
something calls ``os._exit``, which runs nothing: children of ``multiprocessing``, Celery's pool and RQ's jobs end like that.
So a process that hands things over in the background has an ``os._exit`` that hands over first.
"""

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from typing import NoReturn, Protocol

logger = logging.getLogger("holdfast.process")

EXIT_SECONDS = 3.0
"""How long a process that ends waits, at most, for what is still queued."""

LOOK_SECONDS = 0.001
"""Between two looks at whether it has been handed over."""


class Flushable(Protocol):
    def flush(self, timeout: float) -> bool:
        """Hand over what there is, for at most ``timeout`` seconds; say whether nothing is left."""


_flushed: weakref.WeakSet[Flushable] = weakref.WeakSet()


def flush_at_exit(thing: Flushable) -> None:
    """Give ``thing`` the chance to hand over what it still has when the interpreter exits."""
    _flushed.add(thing)


def flush_before_os_exit() -> None:
    """Do the same when this process leaves by ``os._exit``. Whatever starts a thread that hands over calls this."""
    global _replaced, _leave_at_once
    if not _replaced:  # once: others may have wrapped ours since
        _replaced = True
        _leave_at_once, os._exit = os._exit, _flush_and_leave


def wait_for(event: threading.Event, timeout: float) -> bool:
    """Wait for ``event``, for at most ``timeout`` seconds; return whether it is set.

    Takes no lock: a signal handler that calls ``os._exit`` may have interrupted the thread that holds it. Lets other
    greenlets run, where threads are greenlets.
    """
    deadline = time.monotonic() + timeout
    while not event.is_set():
        if (left := deadline - time.monotonic()) <= 0:
            return False
        time.sleep(min(left, LOOK_SECONDS))
    return True


_leave_at_once = os._exit
_replaced = _leaving = False


def _flush_and_leave(status: int) -> NoReturn:
    """``os._exit``, after :func:`_flush_all`. On an event loop, which others may wait for, it leaves at once; and so it does
    when it is called again while it waits, as by a second signal."""
    global _leaving
    try:
        if not _leaving and asyncio._get_running_loop() is None:
            _leaving = True
            _flush_all()
    finally:
        _leave_at_once(status)


def _flush_all() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for thing in list(_flushed):
        try:
            thing.flush(max(0.0, deadline - time.monotonic()))
        except Exception:
            logger.exception("%s could not hand over what it still had before the process ended", thing)


atexit.register(_flush_all)
