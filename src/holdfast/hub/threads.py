"""The bridge from the event loop to blocking code: the ORM, the log, ``def`` handlers."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A bounded pool of worker threads with their database connections looked after.

    Work beyond ``size`` waits in a queue. With ``keep_connections`` a thread keeps its connections from one piece of
    work to the next and drops those that broke; without, Django's rule for the end of a request holds
    (``CONN_MAX_AGE``), which is what application code expects, and the work sees the caller's context variables. (Django
    keeps connections to caches in a context variable, so whoever wants to keep those needs the thread's own context.)
    """

    def __init__(self, size: int, *, name: str = "holdfast", keep_connections: bool = False) -> None:
        self._size = size
        self._name = name
        self._keeps = keep_connections
        self._tidy = _drop_broken_connections if keep_connections else close_old_connections
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a worker thread and return what it returns."""
        loop, work = asyncio.get_running_loop(), partial(function, *args, **kwargs)
        if self._keeps:
            return await loop.run_in_executor(self._executor(), self._work, work)
        context = contextvars.copy_context()
        return await loop.run_in_executor(self._executor(), context.run, self._work, work)

    def _work(self, work: Callable[[], T]) -> T:
        self._tidy()
        try:
            return work()
        finally:
            self._tidy()

    def _executor(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._size, thread_name_prefix=self._name)
        return self._pool

    def close(self) -> None:
        """Finish what runs, close the threads' database connections and end them. The pool can be used again."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        alive = len(pool._threads)
        # A thread that is busy takes its part when it is done. The pool must not start another one to take it: then the
        # connections of the busy thread would stay open.
        pool._max_workers = alive
        meeting = threading.Barrier(alive)

        def part() -> None:
            connections.close_all()
            meeting.wait()  # so that each thread takes exactly one of these

        for _ in range(alive):
            pool.submit(part)
        pool.shutdown(wait=True)


class Inline:
    """Runs the work where it stands: for a log that does not block."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    def close(self) -> None:
        pass


def _drop_broken_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred and not connection.in_atomic_block:
            connection.close()
            connection.errors_occurred = False
