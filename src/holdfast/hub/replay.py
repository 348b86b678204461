"""Bringing a subscription from where it stands to where its stream is, out of memory or out of the log.

A join with a position and a client that was too slow are the same thing: a subscription with an offset below its
stream's. Nobody owns a task for this. A subscription advances when it joins, when a page that it waited for arrives,
and when its connection can be written to again; and as soon as it stands where the stream stands it is live, in the
same turn of the loop, so that there is no seam. Whoever waits for the same page shares one read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.log.base import Diverged, Head, Log, LogError, Trimmed
from holdfast.protocol.frames import Reset, ResetPayload
from holdfast.protocol.positions import Position

from .prepared import Prepared
from .stream import CHUNK_BYTES, Mark, Stream, Subscription
from .threads import Inline, Threads

logger = logging.getLogger("holdfast.hub")

PAGE = 200
RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)


class Wait:
    """Those who wait for one page."""

    __slots__ = ("after", "asked", "epoch", "stamp", "stream", "subscriptions")

    def __init__(self, stream: Stream, after: int, stamp: int) -> None:
        self.stream = stream
        self.after = after
        self.stamp = stamp
        self.asked = stream.mark
        self.epoch = stream.epoch
        self.subscriptions: dict[Subscription, None] = {}


class Replay:
    """Reads pages of the log for the streams of one hub and moves subscriptions along.

    ``catch_up`` asks that a stream move up to an offset, ``examine`` and ``match`` that it be compared with its log, and
    ``doubt`` the same where something says that a position that was served is not in the log any more.
    """

    def __init__(
        self,
        log: Log,
        threads: Threads | Inline,
        catch_up: Callable[[Stream, int], None],
        examine: Callable[[Stream], Awaitable[None]],
        match: Callable[[Stream, Head, Mark], None],
        doubt: Callable[[Stream, Position], None],
    ) -> None:
        self._log = log
        self._threads = threads
        self._catch_up = catch_up
        self._examine = examine
        self._match = match
        self._doubt = doubt
        self._reads: dict[tuple[str, int, int, int, bool], asyncio.Task[list[Prepared]]] = {}
        self._waits: dict[tuple[str, int, int, int], Wait] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self.reads = 0  # how often the log was read, for tests and metrics

    @property
    def tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """What runs at the moment."""
        return (*self._serving, *self._reads.values())

    def advance(self, subscription: Subscription) -> None:
        """Write what is at hand, up to the stream's offset; go live there, or arrange to be called again."""
        stream = subscription.stream
        if subscription.live or subscription.ended or not subscription.outlet.ready:
            return
        if subscription.offset == stream.offset:
            if stream.contradicts(subscription.offset, subscription.stamp):
                self._doubt(
                    stream, subscription.position
                )  # when the log has another epoch everybody begins again
            else:
                stream.go_live(subscription)
        elif subscription.offset > stream.offset:
            stream.ahead.add(subscription)
            self._catch_up(stream, subscription.offset)
        else:
            page = stream.page_after(subscription.offset, subscription.stamp, PAGE)
            if page:
                self._write(subscription, page)
            else:
                self._wait_for_page(subscription)

    def _write(self, subscription: Subscription, page: list[Prepared]) -> None:
        """One page at a time, so that a long replay does not keep everybody else waiting."""
        stream, outlet, limit = subscription.stream, subscription.outlet, subscription.stream.offset
        if not outlet.ready:
            return
        size, upto = 0, 0
        for event in page:
            offset = event.offset
            assert offset is not None
            if offset > limit or size > CHUNK_BYTES:
                break
            size += len(event.payload)
            upto += 1
        burst = stream.burst(page[:upto])
        stream.counters.events_delivered += upto
        try:
            if any(event.exclude == outlet.client for event in burst.events if event.exclude):
                subscription.write(burst.without(outlet.client))
            else:
                outlet.write(burst)
        except Exception as error:  # noqa: BLE001 - it is handed on
            subscription.fail(burst, error)
            return
        last = burst.events[-1].offset
        assert last is not None
        subscription.offset, subscription.stamp = last, burst.events[-1].stamp
        if subscription.offset == limit:
            self.advance(subscription)
        else:
            asyncio.get_running_loop().call_soon(self.advance, subscription)

    # ── reading the log ──────────────────────────────────────────────────────────────────────────────────────────────

    async def page(self, stream: Stream, after: int, stamp: int) -> list[Prepared]:
        """The events after an entry, at most :data:`PAGE`; raises what :meth:`Log.read` raises.

        Empty only where the log ends: not below the stream's offset, unless the log is not the one that it was.
        """
        page = stream.page_after(after, stamp, PAGE)
        if page:
            return page
        return await asyncio.shield(self._read(stream, after, stamp))

    def _read(self, stream: Stream, after: int, stamp: int) -> "asyncio.Task[list[Prepared]]":
        # A read at the stream's end may find nothing. Once the stream has moved on, that is nobody's answer any more.
        key = (stream.name, stream.generation, after, stamp, after < stream.offset)
        task = self._reads.get(key)
        if task is None:
            work = self._read_page(stream, after, stamp)
            task = self._reads[key] = asyncio.get_running_loop().create_task(work)
            task.add_done_callback(lambda _: self._reads.pop(key, None) and None)
        return task

    async def _read_page(self, stream: Stream, after: int, stamp: int) -> list[Prepared]:
        self.reads += 1
        asked, position = stream.mark, Position(epoch=stream.epoch, offset=after, stamp=stamp)
        try:
            entries = await self._threads.run(self._log.read, stream.name, position, PAGE)
        except Trimmed as gone:
            self._match(stream, gone.head, asked)  # here, because who shares the read may have come later
            raise
        page = stream.prepare(entries)
        if page and stream.generation == asked.generation:
            stream.keep_page(after, stamp, page)
        return page

    def _wait_for_page(self, subscription: Subscription) -> None:
        stream, after, stamp = subscription.stream, subscription.offset, subscription.stamp
        key = (stream.name, stream.generation, after, stamp)
        wait = self._waits.get(key)
        if wait is None:
            wait = self._waits[key] = Wait(stream, after, stamp)
            task = asyncio.get_running_loop().create_task(self._serve(wait, key))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        wait.subscriptions[subscription] = None

    async def _serve(self, wait: Wait, key: tuple[str, int, int, int]) -> None:
        """Read a page, with patience, and let everybody who waits for it go on."""
        try:
            page = await self._read_patiently(wait)
        finally:
            del self._waits[key]
        for subscription in wait.subscriptions:
            stands_there = (
                wait.stream.generation == wait.asked.generation and subscription.offset == wait.after
            )
            if page and stands_there and not (subscription.live or subscription.ended):
                self._write(subscription, page)
            else:
                self.advance(subscription)

    async def _read_patiently(self, wait: Wait) -> list[Prepared]:
        """The page; or nothing, when those who wait for it should look anew."""
        stream = wait.stream
        for pause in RETRY_SECONDS:
            if all(subscription.ended for subscription in wait.subscriptions):
                return []
            try:
                page = await self._read(stream, wait.after, wait.stamp)
                if page or stream.generation != wait.asked.generation:
                    return page
                await self._examine(stream)  # the log does not hold what was passed on: is it another one?
                if stream.generation != wait.asked.generation:
                    return []
            except Diverged:
                if not await self._unmasked(wait):
                    return []
            except Trimmed:
                if stream.generation == wait.asked.generation:
                    self._give_up(wait)
                return []
            except LogError as error:
                logger.warning("reading topic %r after %d failed: %s", stream.name, wait.after, error)
            except Exception:
                logger.exception("reading topic %r after %d failed", stream.name, wait.after)
            await asyncio.sleep(pause)
        return []

    async def _unmasked(self, wait: Wait) -> bool:
        """The log has other entries than those who wait were given: find out, and say whether to try again."""
        stream = wait.stream
        stream.doubted = Position(epoch=wait.epoch, offset=wait.after, stamp=wait.stamp)
        try:
            await self._examine(stream)
        except LogError as error:
            logger.warning("topic %r could not be compared with the log: %s", stream.name, error)
            return True
        if stream.generation == wait.asked.generation:
            self._give_up(wait)
        return False

    def _give_up(self, wait: Wait) -> None:
        """What they wait for was trimmed: say so, and let them go on from where the stream is."""
        stream = wait.stream
        for subscription in wait.subscriptions:
            if not (subscription.ended or subscription.live) and subscription.offset == wait.after:
                subscription.offset, subscription.stamp = stream.offset, stream.stamp
                subscription.outlet.write_reset(reset(stream, "trimmed"))


def reset(stream: Stream, reason: str) -> Reset:
    """The message that says where a stream goes on, and why not where it was."""
    if not stream.durable:
        return Reset(topic=stream.name, payload=ResetPayload(reason="interrupted"))
    payload = ResetPayload(
        reason=reason,  # type: ignore[arg-type]
        epoch=stream.epoch,
        offset=stream.offset,
        stamp=stream.stamp,
    )
    return Reset(topic=stream.name, payload=payload)
