"""The parts of one process, put together: how the rooms above reach them.

``holdfast.wiring`` installs how to build them from the settings. They are built at first need, and anew in a forked
child: threads and connections of the parent are of no use there.
"""

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator

from django.core.exceptions import ImproperlyConfigured

from holdfast.backplane.base import Backplane
from holdfast.log.base import Batch, Log
from holdfast.metrics import Counters
from holdfast.presence.base import PresenceStore, Roster
from holdfast.presence.memory import MemoryPresence
from holdfast.stores.ending import EXIT_SECONDS
from holdfast.stores.greenlets import patched_by

from .control import Control
from .hub import GroupEvents, Hub, Timing
from .publisher import Publisher
from .threads import Inline, Threads

EVENT_BYTES = 1_000_000
"""The largest event, as JSON. Daphne cannot send a message of more than 1 MiB."""


SESSION_THREADS = 2
"""How many sessions may be read at once, for connections that are being opened."""


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
        self.origin = secrets.token_hex(8)
        self.publisher = Publisher(log, backplane, log_threads, origin=self.origin)
        self.control = Control(log, self.publisher)
        self.counters = counters or Counters()
        self._timing = timing
        self._group_events = group_events
        self._hub: Hub | None = None
        self._starting: asyncio.Task[Hub] | None = None
        self.leaving = False
        """Has this process begun to end, so that no more clients are to be sent here?"""

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
            origin=self.origin,
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
        self.publisher.spread(batches)

    def roster(self, topic: str, limit: int) -> Roster:
        """Who is in a topic, if they are not more than ``limit``. For any thread; blocks."""
        return self.presence.members(topic, limit, self.publisher.spread_presence)

    @property
    def log_reads(self) -> int:
        """Return the hub's reads of the log. For any thread."""
        return 0 if self._hub is None else self._hub.log_reads

    @property
    def roster_reads(self) -> int:
        """Return the hub's reads of member lists. For any thread."""
        return 0 if self._hub is None else self._hub.presence.reads

    def flush(self, timeout: float) -> bool:
        """Wait until this process holds nothing that others have to get, for at most ``timeout`` seconds; return whether that
        is so. For any thread but those of event loops; blocks."""
        deadline = time.monotonic() + timeout
        ordered = self.control.postponed.hand_over(timeout)  # first, as it sends news as well
        return self.backplane.flush(max(0.0, deadline - time.monotonic())) and ordered

    async def stop(self) -> None:
        """Stop the hub of the running event loop, if it has one, and end the threads. The runtime can be used again."""
        loop = asyncio.get_running_loop()
        starting, self._starting = self._starting, None
        if starting is not None and starting.get_loop() is loop:
            await asyncio.wait([starting])
        if (
            self.control.postponed
        ):  # now: some servers end their process by a signal, which skips what is done at exit
            await loop.run_in_executor(None, self.control.postponed.flush, EXIT_SECONDS)
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


def _need_threads() -> None:
    """Raise ``ImproperlyConfigured`` where threads are greenlets: handlers would run in the thread of the event loop, which
    Django forbids the ORM."""
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
    """Say how this process's runtime is to be built. What was built before is forgotten."""
    global _build, _current
    _build, _current = build, None


def current() -> Runtime:
    """The runtime of this process: one, also if several threads are the first to need it."""
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
    """The runtime of this process, if it has needed one yet."""
    return _current


def leave() -> None:
    """Let this process's runtime know that the process has begun to end. Nothing happens if it has none."""
    if _current is not None:
        _current.leaving = True


@contextlib.contextmanager
def using(runtime: Runtime) -> Iterator[Runtime]:
    """For tests: ``runtime`` is the current one inside the block."""
    global _current
    before, _current = _current, runtime
    try:
        yield runtime
    finally:
        _current = before


def _forget() -> None:
    """A forked child begins anew, also if another thread of its parent was building."""
    global _current, _building
    _current, _building = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
