"""Worker threads: they run pieces of work in the order of :mod:`.turns`."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from django.db import connections

from .turns import Line, Place, Turns, Work

logger = logging.getLogger("holdfast.threads")

P = ParamSpec("P")
T = TypeVar("T")


class Job(Work, Generic[T]):
    """Work that a task on an event loop waits for. It is dropped if the task is cancelled before the work starts."""

    __slots__ = ("_loop", "_work", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> None:
        self._loop = loop
        self._work = work
        self.future: asyncio.Future[T] = loop.create_future()

    @property
    def dropped(self) -> bool:
        return self.future.cancelled()

    def run(self) -> None:
        answer: Callable[[], None]
        try:
            answer = partial(self._succeed, self._work())
        except BaseException as error:  # noqa: BLE001 - it belongs to the task
            answer = partial(self._fail, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(answer)

    # ── on the event loop ────────────────────────────────────────────────────────────────────────────────────────────

    def _succeed(self, value: T) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(for_future(error))


class Call(Work):
    """Work that handles its own errors."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def run(self) -> None:
        self._function()


class Workers:
    """Threads of a bounded pool, started when they are needed. When they end they close their database connections."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._turns = Turns(size)
        self._pool: ThreadPoolExecutor | None = None
        self.ending = threading.Event()
        """Is :meth:`close` waiting for handlers that have borrowed a thread?"""

    def put(self, place: Place, work: Work) -> None:
        """Run ``work`` in a thread, when it is its turn. For any thread. Raises :class:`~.turns.Overloaded`."""
        with self._lock:
            self._turns.put(place, work)
            self._begin()

    def lend(self, place: Place, work: Callable[[], None]) -> None:
        """Call ``work`` in a thread, when it is its turn. ``work`` handles its own errors."""
        self.put(place, Call(work))

    def _begin(self) -> None:
        """Start threads on the work that may start now."""
        while (found := self._turns.take()) is not None:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._size, thread_name_prefix=self._name)
            self._pool.submit(self._serve, *found)

    def _serve(self, line: Line, work: Work) -> None:
        """Run work in this thread until there is no more."""
        while True:
            try:
                work.run()
            except BaseException:
                logger.exception("Work in a thread of %s failed; the thread goes on", self._name)
            del work  # what it holds may be large, and this thread may wait for long
            with self._lock:
                self._turns.done(line)
                found = self._turns.take()
                if found is None:
                    return
                self._begin()
            line, work = found
            del found

    def close(self) -> None:
        """Finish the work that runs, close the threads' database connections and end them. New ones can be started then."""
        self.ending.set()
        pool = self.let_go()
        if pool is not None:
            pool.shutdown(wait=True)
        self.ending.clear()

    def let_go(self) -> ThreadPoolExecutor | None:
        """As :meth:`close`, but return at once: each thread ends when its work is done. Return their pool, if there is one."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is None:
            return None
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
        pool.shutdown(wait=False)
        return pool


class OwnWork(Executor):
    """The threads as an executor, for work of the process that asgiref passes on."""

    def __init__(self, workers: Workers, place: Callable[[], Place]) -> None:
        self._workers = workers
        self._place = place

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        self._workers.lend(self._place(), partial(carry_out, future, partial(fn, *args, **kwargs)))
        return future


def carry_out(future: "Future[Any]", work: Callable[[], Any]) -> None:
    """Call ``work``, unless ``future`` was cancelled, and give ``future`` its result."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - it belongs to the code that waits
        future.set_exception(for_future(error))
    else:
        future.set_result(value)


def for_future(error: BaseException) -> BaseException:
    """Return the exception that a future gets for ``error``.

    An asyncio future refuses ``StopIteration``. Before Python 3.11.8 and 3.12.2 the code that awaits it would then wait for
    ever, if the exception comes from another thread.
    """
    if not isinstance(error, StopIteration):
        return error
    changed = RuntimeError(f"a handler raised {error!r}")
    changed.__cause__ = error
    return changed
