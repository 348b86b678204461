"""Snapshots that joins share: one run for all that ask at the same time, and reuse while the topic has no new event.

A snapshot depends on the topic, and on the host where handlers can depend on it, never on the client. So it may be shared.

On a durable topic a snapshot comes with its position, and events after that are replayed: a join may take one whose run began before
it, or a recent one at the position where the stream still stands. On a topic without a log no position says what a snapshot holds.
There a join only shares a run that has not begun to read.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple

import msgspec

from holdfast.protocol.positions import Position
from holdfast.streams.stream import Mark, Stream

KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of the snapshots that one hub keeps for reuse."""

State = tuple[Position | None, bytes]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A way to take a topic's state. ``read`` returns the state (JSON text), and the position that agrees with it if the topic
    has a log. It calls its argument, from any thread, when it begins to read. ``key`` tells snapshots of one topic apart."""

    read: Callable[[Callable[[], None]], Awaitable[State]]
    key: Hashable = None


class Taken(NamedTuple):
    """A state, its position, and where the stream stood when its run began."""

    asked: Mark
    position: Position | None
    state: bytes


class Run:
    """One run of a snapshot, and the number of joins that wait for it."""

    __slots__ = ("begun", "task", "waiting")

    def __init__(self) -> None:
        self.begun = False
        self.waiting = 0
        self.task: asyncio.Task[Taken]

    def begin(self) -> None:
        self.begun = True


Key = tuple[str, Hashable]


class Snapshots:
    """The snapshots of one hub, under way and kept. ``seconds`` is how long one is reused."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._runs: dict[Key, Run] = {}  # the latest of each
        self._kept: OrderedDict[Key, Taken] = OrderedDict()
        self._bytes = 0

    def at_hand(self, stream: Stream, snapshot: Snapshot) -> bool:
        """Return whether a join would get this snapshot without a run of its own."""
        key = stream.name, snapshot.key
        return self._reusable(stream, key) is not None or self._shareable(stream, key) is not None

    async def take(self, stream: Stream, snapshot: Snapshot) -> Taken:
        """Return the topic's state, from a run of its own, a shared or a recent one. Raises what the run raises."""
        key = stream.name, snapshot.key
        if (kept := self._reusable(stream, key)) is not None:
            return kept
        run = self._shareable(stream, key) or self._start(stream, snapshot, key)
        run.waiting += 1
        try:
            return await asyncio.shield(run.task)
        finally:
            run.waiting -= 1
            if not run.waiting and not run.task.done():
                self._end(key, run)
                run.task.cancel()

    def _reusable(self, stream: Stream, key: Key) -> Taken | None:
        kept = self._kept.get(key)
        if kept is None or kept.position is None or kept.position.epoch != stream.epoch:
            return None
        return kept if kept.position.offset >= stream.offset else None

    def _shareable(self, stream: Stream, key: Key) -> Run | None:
        run = self._runs.get(key)
        return run if run is not None and (stream.durable or not run.begun) else None

    def _start(self, stream: Stream, snapshot: Snapshot, key: Key) -> Run:
        run, before = Run(), self._runs.get(key)
        work = self._run(stream, snapshot, run, None if before is None else before.task)
        run.task = asyncio.get_running_loop().create_task(work)
        self._runs[key] = run
        run.task.add_done_callback(lambda _: self._end(key, run))
        return run

    async def _run(
        self, stream: Stream, snapshot: Snapshot, run: Run, before: "asyncio.Task[Taken] | None"
    ) -> Taken:
        if before is not None:
            await asyncio.wait([before])  # one at a time, however many clients ask
        asked = stream.mark
        position, state = await snapshot.read(run.begin)
        taken = Taken(asked, position, state)
        if position is not None:
            self._keep((stream.name, snapshot.key), taken)
        return taken

    def _end(self, key: Key, run: Run) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]
        if run.task.done() and not run.task.cancelled():
            run.task.exception()  # marks it as read: all that waited for it may have left

    def _keep(self, key: Key, taken: Taken) -> None:
        if self._seconds <= 0 or len(taken.state) > KEPT_BYTES:
            return
        self._drop(key, self._kept.get(key))
        self._kept[key] = taken
        self._bytes += len(taken.state)
        while self._bytes > KEPT_BYTES:
            self._drop(*next(iter(self._kept.items())))
        asyncio.get_running_loop().call_later(self._seconds, self._drop, key, taken)

    def _drop(self, key: Key, taken: Taken | None) -> None:
        if taken is not None and self._kept.get(key) is taken:
            del self._kept[key]
            self._bytes -= len(taken.state)
