"""An event loop for processes that have none: a WSGI worker, a Celery task, a command, a shell.

Channel layers are asynchronous and keep their connections per event loop. ``async_to_sync`` would make a new loop and
new connections for each message; here one daemon thread, started when first needed, has one loop for the whole life of
the process. A forked child gets its own, later, if it needs one.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

from holdfast.stores.ending import flush_when_a_forked_worker_ends
from holdfast.stores.fork import start_anew_after_fork


class _Loop(asyncio.SelectorEventLoop):
    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Look a name up right here, although it blocks: nobody else lives on this loop.

        asyncio would use a thread pool, which refuses work once the interpreter is ending; then a process that
        publishes one message and exits could never connect to a Redis known by name.
        """
        return socket.getaddrinfo(host, port, **options)


class Courier:
    """The thread and its loop, for everything in this process that sends."""

    def __init__(self) -> None:
        self._begin()
        start_anew_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._used_by: list[object] = []

    def start_anew(self) -> None:
        # The parent's loop is never closed here: it shares its epoll with the parent. It is not collected either,
        # for the thread that ran it was lost with its frames, and they (see _run) hold all that the loop used.
        self._begin()

    def call_soon(self, callback: Callable[[], object], *, used_by: object) -> None:
        """Call ``callback`` in the thread. Raises RuntimeError if the interpreter has gone too far to start one."""
        with self._lock:
            if self._loop is None:
                loop, users = _Loop(), self._used_by
                threading.Thread(
                    target=_run, args=(loop, users), name="holdfast-courier", daemon=True
                ).start()
                flush_when_a_forked_worker_ends()
                self._loop = loop
            if not any(user is used_by for user in self._used_by):
                self._used_by.append(used_by)
            self._loop.call_soon_threadsafe(callback)


def _run(loop: asyncio.AbstractEventLoop, used_by: list[object]) -> None:
    """The thread. ``used_by`` keeps what has sockets on the loop alive as long as this frame, see start_anew."""
    asyncio.set_event_loop(loop)
    loop.run_forever()


courier = Courier()
