"""Background event loop for processes that have none: a WSGI worker, a Celery task, a command, a shell.

Channel layers are asynchronous and keep their connections per event loop. ``async_to_sync`` would make a new loop and
new connections for each message. Here one daemon thread, started at first need, has one loop for the whole life of the
process. A forked child starts its own at first need.

Where gevent or eventlet has replaced threads by greenlets, the background loop is a greenlet, and shares its operating system
thread with the application. asyncio keeps "the running loop" for each such thread, and Django refuses the ORM where a
loop runs. So the background loop counts as running only while it runs its callbacks, not while it waits.
"""

import asyncio
import selectors
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from holdfast.process.fork import reset_after_fork
from holdfast.process.shutdown import flush_before_os_exit


class CooperativeLoop(asyncio.SelectorEventLoop):
    """An event loop that is not "the running loop" while it waits. See :meth:`set_aside`."""

    def __init__(self) -> None:
        super().__init__(_selector(self))
        self._other: asyncio.AbstractEventLoop | None = None

    def run_forever(self) -> None:
        self._take_over(None)  # asyncio refuses to start a loop while another one counts as running
        try:
            super().run_forever()
        finally:
            asyncio._set_running_loop(self._other)

    def _take_over(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Let ``loop`` count as the running loop, and remember the one that did before."""
        self._other = asyncio._get_running_loop()
        asyncio._set_running_loop(loop)

    @contextmanager
    def set_aside(self) -> Generator[None]:
        """Context for code that may wait, in a callback of this loop. Other greenlets of the thread run at that time, and
        must find their own loop, or none."""
        asyncio._set_running_loop(self._other)
        try:
            yield
        finally:
            self._take_over(self)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Look up a name in this thread, although that blocks: the loop does nothing else than send.

        asyncio would use a thread pool, which refuses work once the interpreter is ending; then a process that
        publishes one message and exits could never connect to a Redis known by name.
        """
        with self.set_aside():
            return socket.getaddrinfo(host, port, **options)


def _selector(loop: CooperativeLoop) -> selectors.BaseSelector:
    """Return the best selector available now: gevent and eventlet replace Python's selectors by their own."""

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            with loop.set_aside():
                return super().select(timeout)

    return Selector()


class BackgroundLoop:
    """The daemon thread and its loop, shared by everything in this process that sends."""

    def __init__(self) -> None:
        self._inherited: list[object] = []
        self._begin()
        reset_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loop: CooperativeLoop | None = None
        self._used_by: list[object] = []

    def reset_in_child(self) -> None:
        # The parent's loop and the objects that have sockets on it are never closed or collected here: the loop shares its
        # epoll with the parent.
        self._inherited += [self._loop, self._used_by]
        self._begin()

    def call_soon(self, callback: Callable[[], object], *, used_by: object) -> None:
        """Call ``callback`` in the thread. Raises ``RuntimeError`` if the interpreter is ending and can start no thread."""
        with self._lock:
            loop = self._loop
            starting = loop is None
            if loop is None:
                loop = self._loop = CooperativeLoop()
            if not any(user is used_by for user in self._used_by):
                self._used_by.append(used_by)
            loop.call_soon_threadsafe(callback)
        if starting:
            self._start(loop)

    def _start(self, loop: CooperativeLoop) -> None:
        # Not under the lock: starting a thread waits for it. Where threads are greenlets the next one would then wait for
        # a lock that may be the system's (made before the patch), and stop them all.
        try:
            threading.Thread(target=loop.run_forever, name="holdfast-background-loop", daemon=True).start()
        except RuntimeError:
            self._loop = None
            loop.close()
            raise
        flush_before_os_exit()


background_loop = BackgroundLoop()
