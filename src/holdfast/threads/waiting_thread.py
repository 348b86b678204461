"""The thread that waits in ``async_to_sync`` for ``async`` code on an event loop.

That thread may have a transaction open: a view under ``ATOMIC_REQUESTS``, or the body of an ``atomic()``. Django's
asynchronous ORM methods use its connection, so their writes are part of that transaction, and only it can write the rows that
it has locked. So code that touches the log for the application's ``async`` code runs in that thread too, if there is one.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async

T = TypeVar("T")


async def in_waiting_thread(function: Callable[[], T], otherwise: Callable[[], Awaitable[T]]) -> T:
    """Call ``function`` in the thread that waits for the running code. If there is none, await ``otherwise()``.

    A task may outlive the call of ``async_to_sync`` that it was started in. Then no thread waits any more.
    """
    if getattr(AsyncToSync.executors, "current", None) is not None:
        call = ThreadCall(function)
        try:
            return await sync_to_async(call.run, thread_sensitive=True)()
        except RuntimeError:
            if call.begun:
                raise
    return await otherwise()


class ThreadCall(Generic[T]):
    """A call, and whether it has begun. asgiref raises ``RuntimeError`` if the thread waits no more, and the call may too."""

    __slots__ = ("_function", "begun")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self.begun = False

    def run(self) -> T:
        self.begun = True
        value = self._function()
        if _afterwards is not None:
            _afterwards()
        return value


_afterwards: Callable[[], object] | None = None


@contextlib.contextmanager
def calling_afterwards(function: Callable[[], object]) -> Iterator[None]:
    """For tests: inside the block, call ``function`` in the waiting thread after each call there that succeeded."""
    global _afterwards
    before, _afterwards = _afterwards, function
    try:
        yield
    finally:
        _afterwards = before
