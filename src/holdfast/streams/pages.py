"""Pages of the log, read once for all subscriptions that need them."""

import asyncio
from typing import NamedTuple

from holdfast.log.base import Log
from holdfast.protocol.positions import Position
from holdfast.threads.threads import Inline, Threads

from .prepared import Prepared
from .recent import PAGE
from .stream import Mark, Stream, Subscription


class Read(NamedTuple):
    """A read of the log. ``asked`` is where the stream stood when the read began."""

    asked: Mark
    task: "asyncio.Task[list[Prepared]]"


class PendingPage:
    """A page that is being read, and the subscriptions that wait for it."""

    __slots__ = ("after", "asked", "stamp", "stream", "subscriptions")

    def __init__(self, stream: Stream, after: int, stamp: int) -> None:
        self.stream = stream
        self.after = after
        self.stamp = stamp
        self.asked = stream.mark
        self.subscriptions: dict[Subscription, None] = {}

    @property
    def position(self) -> Position:
        return Position(epoch=self.asked.position.epoch, offset=self.after, stamp=self.stamp)

    def outlived(self) -> bool:
        """Has the stream begun again since?"""
        return self.stream.generation != self.asked.generation


class PageReader:
    """Reads pages for the streams of one hub. Readers of the same page share one read."""

    def __init__(self, log: Log, threads: Threads | Inline) -> None:
        self._log = log
        self._threads = threads
        self._reads: dict[tuple[str, int, int, int, bool], Read] = {}
        self.reads = 0  # how often the log was read, for tests and metrics

    @property
    def tasks(self) -> "tuple[asyncio.Task[list[Prepared]], ...]":
        """The reads that run at the moment."""
        return tuple(read.task for read in self._reads.values())

    def read(self, stream: Stream, after: int, stamp: int) -> Read:
        """Read the events after an entry, at most :data:`~holdfast.streams.recent.PAGE`. The task raises what :meth:`Log.read` raises."""
        # A read at the stream's end may find nothing. Once the stream has moved on, a new read is needed.
        key = (stream.name, stream.generation, after, stamp, after < stream.offset)
        read = self._reads.get(key)
        if read is None:
            work = self._read_page(stream, after, stamp)
            read = self._reads[key] = Read(stream.mark, asyncio.get_running_loop().create_task(work))
            read.task.add_done_callback(lambda _: self._reads.pop(key, None) and None)
        return read

    async def _read_page(self, stream: Stream, after: int, stamp: int) -> list[Prepared]:
        self.reads += 1
        generation, position = stream.generation, Position(epoch=stream.epoch, offset=after, stamp=stamp)
        entries = await self._threads.run(self._log.read, stream.name, position, PAGE)
        page = stream.prepare(entries)
        if page and stream.generation == generation:
            stream.recent.keep_page(after, stamp, page)
        return page
