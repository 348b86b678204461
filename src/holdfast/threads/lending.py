"""Lending of threads to ``async def`` handlers, in which they use Django's ORM.

Outside of a request asgiref gives all handlers one thread together, with one connection. Handlers would wait for each other,
and one would use what another sets on the connection (a tenant's schema). So each handler gets a thread to itself, as an
async view does, but a borrowed one: the number of threads is bounded, and so is that of connections.
"""

import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from . import databases
from .turns import OWN, Place
from .workers import carry_out

P = ParamSpec("P")
T = TypeVar("T")

IDLE_SECONDS = 1.0
"""Seconds after which a handler that does not use its thread gives it back, if it holds nothing there."""


Work = tuple["Future[Any]", Callable[[], Any]]


class Lender(Protocol):
    """The owner of the threads. ``ending`` is set when they must end."""

    ending: threading.Event

    def lend(self, place: Place, work: Callable[[], None]) -> None:
        """Run ``work`` in a thread, when it is its turn."""


_borrowed: "contextvars.ContextVar[Borrowed | None]" = contextvars.ContextVar(
    "holdfast.borrowed", default=None
)


class Lending(Executor):
    """The executor that asgiref finds in :attr:`context`. It passes each piece of work on to the thread of the handler that
    the work belongs to. A handler that uses no thread costs next to nothing.

    With ``holds`` a handler keeps its thread to the end, for a reason that the connections do not show.
    """

    def __init__(self, lender: Lender, *, holds: bool) -> None:
        self._lender = lender
        self._holds = holds
        self._lock = threading.Lock()
        self._place = ThreadSensitiveContext()
        # Given the executor in asgiref's own way, which newer versions have, it would refuse the work of tasks that a
        # handler has left behind.
        SyncToAsync.context_to_thread_executor[self._place] = self
        self.context = contextvars.Context()
        self.context.run(SyncToAsync.thread_sensitive_context.set, self._place)

    def borrowed(self) -> "Borrowed | None":
        """The thread of the handler that runs in the present context, or ran there last; ``None`` if none did."""
        return _borrowed.get()

    def borrow(self, place: Place) -> "Borrowed":
        """Begin a handler in the present task. No thread is taken before the handler needs one; then it waits at ``place``."""
        borrowed = Borrowed(self._lender, self._lock, place, self._holds)
        _borrowed.set(borrowed)
        return borrowed

    @staticmethod
    def leave() -> None:
        """Detach the present context from its handler."""
        _borrowed.set(None)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        borrowed = _borrowed.get() or Borrowed(self._lender, self._lock, OWN, self._holds, ended=True)
        return borrowed.submit(partial(fn, *args, **kwargs))


class Borrowed:
    """One handler's thread, taken at the first use and given back by :meth:`end`. The handler's work runs in it in order.

    The handler keeps the thread, since transactions, cursors and settings belong to its connections. For one event loop.
    """

    __slots__ = ("_holds", "_lender", "_lock", "_place", "_queue", "ended")

    def __init__(
        self, lender: Lender, lock: threading.Lock, place: Place, holds: bool, ended: bool = False
    ) -> None:
        self._lender = lender
        self._lock = lock
        self._place = place
        self._holds = holds
        self._queue: queue.SimpleQueue[Work | None] | None = None
        self.ended = ended

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        with self._lock:
            if self._queue is None:
                self._queue = queue.SimpleQueue()
                try:
                    self._lender.lend(self._place, partial(self._serve, self._queue))
                except Exception:
                    self._queue = None
                    raise
            self._queue.put((future, work))
        if self.ended:  # a task that the handler left behind: it gets a thread for this piece only
            self.end()
        return future

    def end(self) -> None:
        """Give the thread back when its work is done."""
        self.ended = True
        if self._queue is None:
            return
        with self._lock:
            if self._queue is not None:
                self._queue.put(None)
                self._queue = None

    # ── in the thread ────────────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self, work: "queue.SimpleQueue[Work | None]") -> None:
        databases.begin_again()
        try:
            while (next_one := self._next(work)) is not None:
                carry_out(*next_one)
                del next_one  # the exception in it knows this frame
                databases.give_back()
        finally:
            databases.begin_again()

    def _next(self, work: "queue.SimpleQueue[Work | None]") -> Work | None:
        while True:
            try:
                return work.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                if self._leave(work):
                    return None

    def _leave(self, work: "queue.SimpleQueue[Work | None]") -> bool:
        """Stop waiting for this handler, if another may need the thread or the process ends. Return whether that is so."""
        ending = self._lender.ending.is_set() or not threading.main_thread().is_alive()
        if not ending and (self._holds or not databases.at_rest()):
            return False
        with self._lock:
            if not work.empty():
                return False
            if self._queue is work:
                self._queue = None
            return True
