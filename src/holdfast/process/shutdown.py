"""Flush at the end of a process: queued work is handed over, for a bounded time.

A process that is not killed ends in one of two ways. Either the interpreter exits, and runs the functions registered with
:mod:`atexit`. Or some code calls ``os._exit``, which runs none of them: children of ``multiprocessing``, Celery's pool and
RQ's jobs end like that. So a process that hands over work in the background gets an ``os._exit`` that flushes first.
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
"""Most seconds that a process that ends waits for queued work."""

LOOK_SECONDS = 0.001
"""Seconds between two checks whether it has been handed over."""


class Flushable(Protocol):
    def flush(self, timeout: float) -> bool:
        """Hand over queued work, for at most ``timeout`` seconds; return whether nothing is left."""


_flushed: weakref.WeakSet[Flushable] = weakref.WeakSet()


def flush_at_exit(thing: Flushable) -> None:
    """Flush ``thing`` when the interpreter exits."""
    _flushed.add(thing)


def flush_before_os_exit() -> None:
    """Flush also when this process ends by ``os._exit``. Code that starts a thread that hands over work calls this."""
    global _replaced, _leave_at_once
    if not _replaced:  # once: other code may have wrapped ours since
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
    """``os._exit``, after :func:`_flush_all`.

    It exits at once on an event loop, for which other threads may be waiting, and when it is called again while it waits,
    as by a second signal.
    """
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
            logger.exception("%r failed to flush before the process ended; its queued work is lost", thing)


atexit.register(_flush_all)
