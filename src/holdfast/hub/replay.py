"""Bringing a subscription from where it stands to where its stream is, out of memory or out of the log.

A join with a position and a client that was too slow are the same thing: a subscription with an offset below its
stream's. Nobody owns a task for this. A subscription advances when it joins, when a page that it waited for arrives,
and when its connection can be written to again; and as soon as it stands where the stream stands it is live, in the
same turn of the loop, so that there is no seam. Whoever waits for the same page shares one read.
"""

import asyncio
import logging
from collections.abc import Callable

from holdfast.log.base import Log, LogError, Trimmed
from holdfast.protocol.frames import Reset, ResetPayload
from holdfast.protocol.positions import Position

from .prepared import Prepared
from .stream import Stream, Subscription
from .threads import Inline, Threads

logger = logging.getLogger("holdfast.hub")

PAGE = 200
RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)


class Replay:
    """Reads pages of the log for the streams of one hub and moves subscriptions along."""

    def __init__(self, log: Log, threads: Threads | Inline, catch_up: Callable[[Stream, int], None]) -> None:
        self._log = log
        self._threads = threads
        self._catch_up = catch_up  # asks that the stream itself move up to an offset
        self._reads: dict[tuple[str, str, int], asyncio.Task[list[Prepared]]] = {}
        self._waiting: dict[tuple[str, str, int], list[Subscription]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.reads = 0  # how often the log was read, for tests and metrics

    def advance(self, subscription: Subscription) -> None:
        """Write what is at hand, up to the stream's offset; go live there, or arrange to be called again."""
        stream = subscription.stream
        if subscription.live or subscription.ended or not subscription.outlet.ready:
            return
        if subscription.offset == stream.offset:
            stream.go_live(subscription)
        elif subscription.offset > stream.offset:
            stream.ahead.add(subscription)
            self._catch_up(stream, subscription.offset)
        else:
            page = stream.page_after(subscription.offset, PAGE)
            if page:
                self._write(subscription, page)
            else:
                self._wait_for_page(subscription)

    def _write(self, subscription: Subscription, page: list[Prepared]) -> None:
        """One page at a time, so that a long replay does not keep everybody else waiting."""
        outlet, limit = subscription.outlet, subscription.stream.offset
        for event in page:
            offset = event.offset
            assert offset is not None
            if offset > limit:
                break
            if not outlet.ready:
                return
            if not event.exclude or event.exclude != outlet.client:
                outlet.write(event)
            subscription.offset = offset
        if subscription.offset == limit:
            self.advance(subscription)
        else:
            asyncio.get_running_loop().call_soon(self.advance, subscription)

    # ── reading the log ──────────────────────────────────────────────────────────────────────────────────────────────

    async def page(self, stream: Stream, after: int) -> list[Prepared]:
        """The events after an offset, at most :data:`PAGE`; raises what :meth:`Log.read` raises."""
        page = stream.page_after(after, PAGE)
        if page:
            return page
        return await asyncio.shield(self._read(stream, after))

    def _read(self, stream: Stream, after: int) -> "asyncio.Task[list[Prepared]]":
        key = (stream.name, stream.epoch, after)
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.get_running_loop().create_task(self._read_page(stream, after))
            task.add_done_callback(lambda task: self._reads.pop(key, None) and None)
        return task

    async def _read_page(self, stream: Stream, after: int) -> list[Prepared]:
        self.reads += 1
        position = Position(epoch=stream.epoch, offset=after)
        entries = await self._threads.run(self._log.read, stream.name, position, PAGE)
        page = stream.prepare(entries)
        if page and position.epoch == stream.epoch:
            stream.keep_page(after, page)
        return page

    def _wait_for_page(self, subscription: Subscription) -> None:
        stream, after = subscription.stream, subscription.offset
        key = (stream.name, stream.epoch, after)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(subscription)
            return
        self._waiting[key] = [subscription]
        task = asyncio.get_running_loop().create_task(self._serve(stream, after, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream, after: int, key: tuple[str, str, int]) -> None:
        """Read a page, with patience, and let everybody who waits for it go on."""
        for pause in (*RETRY_SECONDS, None):
            try:
                page = await self._read(stream, after)
            except Trimmed:
                self._give_up(stream, self._waiting.pop(key), "trimmed")
                return
            except LogError as error:
                logger.warning("reading topic %r after %d failed: %s", stream.name, after, error)
                await asyncio.sleep(RETRY_SECONDS[-1] if pause is None else pause)
                continue
            waiting = self._waiting.pop(key)
            if not page:
                # The log does not hold what the stream passed on: it is not the log that the stream knew.
                self._give_up(stream, waiting, "epoch")
                return
            for subscription in waiting:
                if subscription.offset == after:
                    self._write_if_ready(subscription, page)
                else:
                    self.advance(subscription)
            return
        # The log has been away for long. Ask again as if anew, for as long as somebody waits.
        for subscription in self._waiting.pop(key):
            self.advance(subscription)

    def _write_if_ready(self, subscription: Subscription, page: list[Prepared]) -> None:
        if not (subscription.live or subscription.ended):
            self._write(subscription, page)

    def _give_up(self, stream: Stream, subscriptions: list[Subscription], reason: "str") -> None:
        """What they wait for is gone: say so, and let them go on from where the stream is."""
        for subscription in subscriptions:
            if subscription.ended or subscription.live:
                continue
            subscription.offset = stream.offset
            subscription.outlet.write_reset(reset(stream, reason))
            self.advance(subscription)


def reset(stream: Stream, reason: str) -> Reset:
    """The message that says where a stream goes on, and why not where it was."""
    if not stream.durable:
        return Reset(topic=stream.name, payload=ResetPayload(reason="interrupted"))
    payload = ResetPayload(reason=reason, epoch=stream.epoch, offset=stream.offset)  # type: ignore[arg-type]
    return Reset(topic=stream.name, payload=payload)
