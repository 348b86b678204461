"""Bridge from the event loop to blocking code: the ORM, the log, ``def`` handlers.

Every handler runs in the same context (:mod:`.handler_context`), whether it is a ``def`` (:meth:`Threads.handle`) or an ``async
def`` (:meth:`Threads.handle_async`).
"""

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from . import databases
from .handler_context import Around, HandlerInfo, as_configured, at_script_prefix
from .lending import Lending
from .turns import OWN, Place
from .workers import Job, OwnWork, Workers

P = ParamSpec("P")
T = TypeVar("T")

_place: "contextvars.ContextVar[Place]" = contextvars.ContextVar("holdfast.place", default=OWN)
"""The line of the work that the present task asks for."""


class Threads:
    """A bounded pool of worker threads with their database connections looked after.

    Work beyond ``size`` waits for its turn (:mod:`.turns`): at the place of the :meth:`context` that its task runs in. Without ``keep_connections``, Django's rule for the end of a request holds
    (``CONN_MAX_AGE``), which is what application code expects. With it, a thread keeps its connections from one piece of work
    to the next, except those that broke or that belong to one of Django's pools, and work runs in the thread's own context.
    (Django keeps connections to caches in a context variable, so code that wants to keep those needs the same context.) Such a
    pool does short work of the library itself, in the order in which it comes.

    At most ``size`` ``async def`` handlers may use the ORM at once, in ``size`` further threads.
    """

    def __init__(
        self,
        size: int,
        *,
        name: str = "holdfast",
        keep_connections: bool = False,
        around: Around | None = None,
    ) -> None:
        self._workers = Workers(size, name)
        self._lent = Workers(size, f"{name}-async")
        self._lending = Lending(self._lent, holds=around is not None)
        self._keeps = keep_connections
        self._around = around
        self._used = threading.local()
        # An Executor: asgiref asks its own type for more than it uses.
        self._executor: Any = OwnWork(self._workers, _place.get)

    @property
    def tells_hosts_apart(self) -> bool:
        """Can handlers depend on the host that a client has connected to?"""
        return self._around is not None

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a worker thread and return its result. For work that belongs to the code that awaits it: it sees
        the caller's context variables, unless the thread keeps its own."""
        work = partial(function, *args, **kwargs)
        if self._keeps:
            return await self._visit(work)
        return await sync_to_async(self._work, thread_sensitive=False, executor=self._executor)(work)

    # ── handlers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def handle(
        self, info: HandlerInfo, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a ``def`` handler in a worker thread, in its context, and return its result."""
        return await self._visit(partial(self._inside, info, partial(function, *args, **kwargs)))

    async def handle_async(
        self, info: HandlerInfo, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await an ``async def`` handler in its context, and return its result.

        The task that awaits this has to be in a :meth:`context`, which the first handler uses; a later one gets another. A
        handler that awaits another one (a call its rules) shares its context with it.
        """
        before = self._lending.borrowed()
        if before is None:
            return await self._alone(info, partial(function, *args, **kwargs))
        if not before.ended:
            return await function(*args, **kwargs)
        alone = self._alone(info, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().create_task(alone, context=self.context())

    async def _alone(self, info: HandlerInfo, work: Callable[[], Awaitable[T]]) -> T:
        borrowed = self._lending.borrow(_place.get())
        try:
            at_script_prefix()
            if self._around is None:
                return await work()
            return await self._inside_async(self._around, info, work)
        finally:
            borrowed.end()

    async def handle_many(
        self, handlers: Sequence[tuple[HandlerInfo, Callable[[], T]]]
    ) -> "list[T | Exception]":
        """As :meth:`handle`, for many handlers in one visit to a worker thread, each in its own context. Return their results;
        for a handler that raised an exception, that exception."""
        return await self._visit(partial(self._each, handlers))

    def _each(self, handlers: Sequence[tuple[HandlerInfo, Callable[[], T]]]) -> "list[T | Exception]":
        answers: list[T | Exception] = []
        for info, handler in handlers:
            try:
                answers.append(self.context().run(self._inside, info, handler))
            except Exception as error:  # noqa: BLE001 - it is the answer
                answers.append(error)
            self._between_handlers()
        return answers

    def _between_handlers(self) -> None:
        databases.forget()

    def context(self, place: Place = OWN) -> contextvars.Context:
        """Fresh context variables for one handler, or for the rules and the action of one call. What runs in them waits for
        threads at ``place``."""
        context = self._lending.context.copy()
        if place is not OWN:
            context.run(_place.set, place)
        return context

    async def _inside_async(self, around: Around, info: HandlerInfo, work: Callable[[], Awaitable[T]]) -> T:
        """Enter and leave the context manager in the thread where the ORM is used. The handler sees its variables."""
        stack = contextlib.ExitStack()
        try:
            await sync_to_async(_enter)(stack, around, info)
            value = await work()
        except BaseException as error:
            await sync_to_async(stack.__exit__)(type(error), error, error.__traceback__)
            raise
        await sync_to_async(stack.__exit__)(None, None, None)
        return value

    def _inside(self, info: HandlerInfo, work: Callable[[], T]) -> T:
        at_script_prefix()
        if self._around is None:
            return work()
        with self._around(info):
            return work()

    # ── where they run ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _visit(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        if self._keeps:
            job = Job(loop, partial(self._work, work))
            self._workers.put(OWN, job)
        else:
            place = _place.get()
            job = Job(loop, partial(self.context(place).run, self._work, work))
            self._workers.put(place, job)
        return await job.future

    def _work(self, work: Callable[[], T]) -> T:
        if not self._keeps:
            databases.begin_again()
            try:
                return work()
            finally:
                databases.begin_again()
        as_configured()
        databases.wake(getattr(self._used, "at", 0.0))
        try:
            return work()
        finally:
            databases.keep()
            self._used.at = time.monotonic()

    def close(self) -> None:
        """Finish the work that runs, close the threads' database connections and end them. The pool can be used again."""
        self._lent.close()
        self._workers.close()

    def let_go(self) -> None:
        """As :meth:`close`, but return at once: each thread ends when its work is done."""
        self._lent.let_go()
        self._workers.let_go()


class Inline:
    """Runs work in place, for a log that does not block."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    def close(self) -> None:
        pass

    def let_go(self) -> None:
        pass


def _enter(stack: contextlib.ExitStack, around: Around, info: HandlerInfo) -> Any:
    return stack.enter_context(around(info))
