"""The runtime of one process: its log, backplane, threads, publisher, control and hub, and access to them.

``holdfast.wiring`` installs the function that builds it from the settings. It is built at first need, and once more in a
forked child, where the parent's threads and connections are of no use.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from django.core.exceptions import ImproperlyConfigured

from holdfast.backplane.base import Backplane
from holdfast.control.control import Control
from holdfast.hub.hub import GroupEvents, Hub, Timing
from holdfast.hub.publisher import Publisher
from holdfast.log.base import Batch, Log
from holdfast.metrics import Counters
from holdfast.presence.base import PresenceStore, Roster
from holdfast.presence.memory import MemoryPresence
from holdfast.process.greenlets import patched_by
from holdfast.process.shutdown import EXIT_SECONDS
from holdfast.threads.threads import Inline, Threads

EVENT_BYTES = 1_000_000
"""Bytes of the largest event, as JSON. Daphne cannot send a message of more than 1 MiB."""

SESSION_THREADS = 2
"""Sessions that are read at once, for connections that are being opened."""


class Runtime:
    """One process's log, backplane, threads, publisher, and its hub on each event loop that has connections."""

    def __init__(
        self,
        *,
        log: Log,
        backplane: Backplane,
        threads: Threads,
        log_threads: Threads | Inline,
        session_threads: Threads | None = None,
        timing: Timing | None = None,
        group_events: GroupEvents | None = None,
        event_bytes: int = EVENT_BYTES,
        presence: PresenceStore | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.log = log
        self.backplane = backplane
        self.threads = threads
        self.log_threads = log_threads
        self.session_threads = session_threads or Threads(
            SESSION_THREADS, name="holdfast-session", keep_connections=True
        )
        self.event_bytes = event_bytes
        self.presence = presence or MemoryPresence()
        self.publisher = Publisher(log, backplane, log_threads)
        self.control = Control(log, self.publisher)
        self.counters = counters or Counters()
        self._timing = timing
        self._group_events = group_events
        self._hub: Hub | None = None
        self._starting: asyncio.Task[Hub] | None = None
        self.leaving = False
        """Has this process begun to end, so that it should get no more clients?"""
        self.when_leaving: Callable[[], object] | None = None
        """Called when it begins to end, on the event loop."""

    async def hub(self) -> Hub:
        """The hub of the running event loop, started."""
        hub, loop = self._hub, asyncio.get_running_loop()
        if hub is not None and hub.loop is loop:
            return hub
        starting = self._starting
        if starting is None or starting.get_loop() is not loop or starting.done():
            starting = self._starting = loop.create_task(self._start_hub())
        return await asyncio.shield(starting)

    async def _start_hub(self) -> Hub:
        _need_threads()
        if self._hub is not None:
            self.publisher.detach(self._hub)  # its event loop has ended without stopping it
            self.control.forget_hub()
        hub = Hub(
            self.log,
            self.backplane,
            self.log_threads,
            timing=self._timing,
            group_events=self._group_events,
            batches_found=self._found,
            presence=self.presence,
            counters=self.counters,
        )
        await hub.start()
        self.publisher.attach(hub)
        await self.control.follow(hub)
        self._hub = hub
        return hub

    def _found(self, batches: list[Batch]) -> None:
        self.publisher.broadcast(batches)

    def roster(self, topic: str, limit: int) -> Roster:
        """Return a topic's members, if there are at most ``limit``. For any thread; blocks."""
        return self.presence.members(topic, limit, self.publisher.broadcast_presence)

    @property
    def log_reads(self) -> int:
        """Return the hub's reads of the log. For any thread."""
        return 0 if self._hub is None else self._hub.log_reads

    @property
    def roster_reads(self) -> int:
        """Return the hub's reads of member lists. For any thread."""
        return 0 if self._hub is None else self._hub.presence.reads

    def leave(self) -> None:
        """Note that this process has begun to end. For the event loop's thread only."""
        if not self.leaving:
            self.leaving = True
            if self.when_leaving is not None:
                self.when_leaving()

    def flush(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds until this process holds nothing that other processes have to get. Return whether that
        is so. For any thread but those of event loops; blocks."""
        deadline = time.monotonic() + timeout
        emptied = self.control.retry_queue.hand_over(timeout)  # first, as it sends messages as well
        return self.backplane.flush(max(0.0, deadline - time.monotonic())) and emptied

    async def stop(self) -> None:
        """Stop the hub of the running event loop, if it has one, and end the threads. The runtime can be used again."""
        loop = asyncio.get_running_loop()
        starting, self._starting = self._starting, None
        if starting is not None and starting.get_loop() is loop:
            await asyncio.wait([starting])
        # Flush it now: some servers end their process by a signal, which skips what is done at exit.
        if self.control.retry_queue:
            await loop.run_in_executor(None, self.control.retry_queue.flush, EXIT_SECONDS)
        hub, self._hub = self._hub, None
        if hub is not None:
            self.publisher.detach(hub)
            if hub.loop is loop:
                await self.control.stop()
                await hub.stop()
            else:
                self.control.forget_hub()
        await loop.run_in_executor(None, self.threads.close)
        await loop.run_in_executor(None, self.log_threads.close)
        await loop.run_in_executor(None, self.session_threads.close)
        self.leaving = False

    def let_go(self) -> None:
        """End the threads of a runtime that is forgotten, each when its work is done, and close their database connections."""
        for threads in (self.threads, self.log_threads, self.session_threads):
            threads.let_go()


def _need_threads() -> None:
    """Raise ``ImproperlyConfigured`` where threads are greenlets: handlers would run in the event loop's thread, where Django
    forbids the use of the ORM."""
    if (patched := patched_by()) is not None:
        raise ImproperlyConfigured(
            f"Live connections cannot be served by this process: {patched} has replaced its threads by greenlets, and "
            "Holdfast runs an event loop beside real threads. Publishing works here; serve the connections from a process "
            "that is not patched: manage.py holdfast serve."
        )


_build: Callable[[], Runtime] | None = None
_current: Runtime | None = None
_building = threading.Lock()


def install(build: Callable[[], Runtime]) -> None:
    """Set the function that builds this process's runtime. A runtime that was built before is forgotten, and its threads end."""
    global _build, _current
    forgotten = _current
    _build, _current = build, None
    if forgotten is not None:
        forgotten.let_go()


def current() -> Runtime:
    """Return this process's runtime. There is one, also if several threads are the first to need it."""
    global _current
    if (runtime := _current) is not None:
        return runtime
    with _building:
        if _current is None:
            if _build is None:
                raise RuntimeError(
                    'Holdfast is not set up in this process: put "holdfast" into INSTALLED_APPS and call '
                    "django.setup() before you publish."
                )
            _current = _build()
        return _current


def built() -> Runtime | None:
    """Return this process's runtime, if it has been built yet."""
    return _current


def leave() -> None:
    """Note in this process's runtime, if it has one, that the process has begun to end."""
    if _current is not None:
        _current.leave()


@contextlib.contextmanager
def using(runtime: Runtime) -> Iterator[Runtime]:
    """For tests: make ``runtime`` the current one inside the block."""
    global _current
    before, _current = _current, runtime
    try:
        yield runtime
    finally:
        _current = before


def _forget() -> None:
    """In a forked child: forget the parent's runtime, and its lock, which another thread may have held."""
    global _current, _building
    _current, _building = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
