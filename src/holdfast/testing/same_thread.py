"""Event loop and blocking code that take turns in one thread, the test's.

A ``TestCase`` keeps its transaction on the test thread's database connection, so ``def`` handlers, the rules and the log
must run there. Django forbids the ORM while an event loop runs, so the loop is stopped for as long as such work takes.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections

from holdfast.threads.handler_context import Around, as_configured
from holdfast.threads.threads import Threads
from holdfast.threads.turns import OWN, Place
from holdfast.threads.workers import for_future

P = ParamSpec("P")
T = TypeVar("T")


class SameThreadLoop(Executor):
    """Runs coroutines on its own event loop, in the thread that calls :meth:`run`. Work given to :meth:`submit` runs in the
    same thread, between two turns of the loop, when no loop is running.

    ``afterwards`` is called after each piece of work that succeeded.
    """

    def __init__(self, afterwards: Callable[[], None]) -> None:
        forbid_running_loop()
        self._afterwards = afterwards
        self._loop = asyncio.new_event_loop()
        self._work: deque[Callable[[], None]] = deque()
        # Here sync_to_async looks for the thread of sensitive code. Django's async methods use it.
        AsyncToSync.loop_thread_executors[self._loop] = self  # type: ignore[assignment]

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._work.append(partial(self._carry_out, future, partial(fn, *args, **kwargs)))
        self._loop.call_soon_threadsafe(self._loop.stop)
        return future

    def _carry_out(self, future: Future[T], work: Callable[[], T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            value = work()
            self._afterwards()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            future.set_exception(for_future(error))
        else:
            future.set_result(value)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` and all submitted work until it returns; return its result."""
        try:
            forbid_running_loop()
        except RuntimeError:
            coroutine.close()
            raise
        context = contextvars.copy_context()
        context.run(_leave_other_loops)
        task = self._loop.create_task(coroutine, context=context)
        task.add_done_callback(lambda _: self._loop.stop())
        while not task.done():
            self._loop.run_forever()
            while self._work:
                self._work.popleft()()
        return task.result()

    def runs_here(self) -> bool:
        """Is this loop the running one?"""
        return asyncio.get_running_loop() is self._loop

    def close(self) -> None:
        """Cancel the remaining tasks of the loop and close it."""
        try:
            if left := asyncio.all_tasks(self._loop):
                for task in left:
                    task.cancel()
                self.run(_all(left))
            self.run(self._loop.shutdown_asyncgens())
            self.run(self._loop.shutdown_default_executor())
        finally:
            del AsyncToSync.loop_thread_executors[self._loop]
            self._loop.close()


def forbid_running_loop() -> None:
    """Raise ``RuntimeError``, with the way out, inside an event loop, where code may not block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "LiveClient and Live are for def tests; in an async def test use AsyncLiveClient, AsyncLive or the fixture "
        "`async_live`, and await their methods."
    )


async def _all(tasks: "set[asyncio.Task[Any]]") -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _leave_other_loops() -> None:
    """Bind the code that runs here to this thread, even when the thread works for an event loop elsewhere."""
    AsyncToSync.executors.current = None


class ThreadsInPlace(Threads):
    """Base of stand-ins for worker threads: a test's own thread does the work, with its connections and context."""

    def context(self, place: Place = OWN) -> contextvars.Context:
        """Return a copy of the current context, in which asgiref keeps the test's thread, without the translation and time
        zone that the test has activated."""
        context = contextvars.copy_context()
        context.run(as_configured)
        context.run(self._lending.leave)
        return context

    def _between_handlers(self) -> None:
        pass

    def close(self) -> None:
        pass


def _with_own_connections(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connections.close_all()


class LoopThreads(ThreadsInPlace):
    """Stand-in for the worker threads in a ``def`` test: the test's thread."""

    def __init__(self, loop: SameThreadLoop, around: Around | None = None) -> None:
        super().__init__(1, around=around)
        self._loop = loop

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._in(contextvars.copy_context(), partial(function, *args, **kwargs))

    async def _visit(self, work: Callable[[], T]) -> T:
        return await self._in(self.context(), work)

    async def _in(self, context: contextvars.Context, work: Callable[[], T]) -> T:
        if not self._loop.runs_here():
            # The test's thread may be waiting for this very loop; then no thread would do the work.
            return await asyncio.to_thread(_with_own_connections, work)
        return await asyncio.get_running_loop().run_in_executor(self._loop, context.run, work)


class SensitiveThreads(ThreadsInPlace):
    """Stand-in for the worker threads in an ``async def`` test: the thread that ``sync_to_async`` uses. There handlers,
    Django's async methods and the test see the same database connection."""

    def __init__(self, afterwards: Callable[[], None], around: Around | None = None) -> None:
        super().__init__(1, around=around)
        self._afterwards = afterwards

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._visit(partial(function, *args, **kwargs))

    async def _visit(self, work: Callable[[], T]) -> T:
        def with_commits() -> T:
            try:
                value = work()
                self._afterwards()
            except StopIteration as error:
                raise for_future(error) from error
            return value

        return await sync_to_async(with_commits, thread_sensitive=True)()
