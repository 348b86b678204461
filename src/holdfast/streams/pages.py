"""Pages of the log, read once for all subscriptions that need them."""

import asyncio
from functools import partial

from holdfast.log.base import Batch, Log, Trimmed
from holdfast.protocol.positions import Position
from holdfast.threads.threads import Inline, Threads

from .prepared import Prepared
from .recent import PAGE, PAGE_BYTES
from .stream import Mark, Stream


def size_of(batch: Batch) -> int:
    """Return the bytes of a batch's payloads."""
    return sum([len(entry.payload) for entry in batch.entries])


class Read:
    """A read of the log. ``asked`` is where the stream stood when the read began, ``waiting`` the number of callers that wait for
    the page."""

    __slots__ = ("asked", "task", "waiting")

    def __init__(self, asked: Mark, task: "asyncio.Task[list[Prepared]]") -> None:
        self.asked = asked
        self.task = task
        self.waiting = 0


Key = tuple[str, int, int, int, bool]


class PageReader:
    """Reads pages for the streams of one hub. Readers of the same page share one read, which ends when all of them have left."""

    def __init__(self, log: Log, threads: Threads | Inline) -> None:
        self._log = log
        self._threads = threads
        self._reads: dict[Key, Read] = {}
        self.reads = 0  # how often the log was read, for tests and metrics

    @property
    def tasks(self) -> "tuple[asyncio.Task[list[Prepared]], ...]":
        """The reads that run at the moment."""
        return tuple(read.task for read in self._reads.values())

    @staticmethod
    def _key(stream: Stream, after: int, stamp: int) -> Key:
        # A read at the stream's end may find nothing. Once the stream has moved on, a new read is needed.
        return stream.name, stream.generation, after, stamp, after < stream.offset

    def under_way(self, stream: Stream, after: int, stamp: int) -> bool:
        """Return whether this page is being read."""
        return self._key(stream, after, stamp) in self._reads

    async def read(self, stream: Stream, after: int, stamp: int) -> tuple[Mark, list[Prepared] | Trimmed]:
        """Read the events after an entry, at most a page. Return where the stream stood when the read began, and the page, or why
        there is none. Raises what else :meth:`Log.read` raises."""
        key = self._key(stream, after, stamp)
        read = self._reads.get(key)
        if read is None:
            task = asyncio.get_running_loop().create_task(self._read_page(stream, after, stamp))
            read = self._reads[key] = Read(stream.mark, task)
            task.add_done_callback(partial(self._ended, key, read))
        read.waiting += 1
        try:
            return read.asked, await asyncio.shield(read.task)
        except Trimmed as gone:
            return read.asked, gone
        finally:
            read.waiting -= 1
            if not read.waiting and not read.task.done():
                self._forget(key, read)
                read.task.cancel()  # if no thread has begun with it, the log is not read at all

    def _ended(self, key: Key, read: Read, _: "asyncio.Task[list[Prepared]]") -> None:
        self._forget(key, read)

    def _forget(self, key: Key, read: Read) -> None:
        if self._reads.get(key) is read:
            del self._reads[key]

    async def _read_page(self, stream: Stream, after: int, stamp: int) -> list[Prepared]:
        self.reads += 1
        generation, position = stream.generation, Position(epoch=stream.epoch, offset=after, stamp=stamp)
        entries = await self._threads.run(self._log.read, stream.name, position, PAGE, PAGE_BYTES)
        page = stream.prepare(entries)
        if page and stream.generation == generation and not stream.closed:
            stream.recent.keep_page(after, stamp, page)
        return page
