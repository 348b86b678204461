"""The rules of order: what a stream emits next, and how it gets back to where its log is.

A stream knows the last offset that it emitted. Of the entries that arrive it emits the next ones, drops older ones, and
holds back those beyond a gap until the gap is filled, from entries that arrive late or from the log. A log whose epoch has
changed is another log: all subscribers get a reset, and the stream starts again at the log's head.

A log that ends before what was emitted, or that has another entry in the place of one, went back in time. The stream then
has the log renew the topic's epoch first (:meth:`Log.rotate_epoch`), so that it is another log for all processes, and stays so.
A batch contradicts the stream when the entry that it follows, or one that it repeats, has another stamp than the one that
was emitted. The follower then asks the log which of the two it holds.

A stream may move while the log is being asked. So a caller notes the stream's :class:`Mark` first. An answer that the stream
has outrun moves nothing; if it names another epoch than the stream's, the log is asked again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from holdfast.log.base import Batch, Diverged, Head, Log, LogError, Trimmed
from holdfast.protocol.positions import Position
from holdfast.threads.threads import Inline, Threads

from . import replay
from .pages import PageReader, size_of
from .pending_pages import PendingPages, report_failed_comparison
from .prepared import Prepared
from .replay import Needs
from .stream import Mark, Stream, Subscription

logger = logging.getLogger("holdfast.hub")

HELD = 64
HELD_BYTES = 1024 * 1024
"""Batches of one topic that are held back beyond a gap, and bytes of their payloads. Further ones are read from the log."""


class LogFollower:
    """Moves the streams of one hub, and their subscriptions, along the log."""

    def __init__(
        self,
        log: Log,
        threads: Threads | Inline,
        *,
        patience: float,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._log = log
        self._threads = threads
        self._patience = patience
        self._spawn = spawn
        self._pages = PageReader(log, threads)
        self._pending = PendingPages(self)

    @property
    def reads(self) -> int:
        """How often pages of the log were read, for tests and metrics."""
        return self._pages.reads

    @property
    def tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """The reads that run at the moment, and what waits for them."""
        return (*self._pending.tasks, *self._pages.tasks)

    # ── entries that arrive ──────────────────────────────────────────────────────────────────────────────────────────

    def on_entries(self, stream: Stream, batch: Batch) -> None:
        """Handle entries that were given offsets, in this process or another one."""
        if batch.epoch != stream.epoch:
            # They are late, or the log is a new one. The log knows.
            if stream.durable:
                self._examine_soon(stream)
            return
        first, last = batch.entries[0].offset, batch.entries[-1].offset
        if stream.contradicted_by(batch):
            self._doubt(stream, stream.position)
            return
        if last <= stream.offset:
            return
        if first > stream.offset + 1:
            self._hold(stream, batch)
            return
        self._emit(stream, stream.prepare(e for e in batch.entries if e.offset > stream.offset))
        self._emit_held(stream)

    def _emit(self, stream: Stream, events: Sequence[Prepared]) -> None:
        """Emit a stream's next events to its live subscriptions."""
        if not events:
            return
        first, last = events[0].offset, events[-1].offset
        assert last is not None
        assert (first, last - stream.offset) == (stream.offset + 1, len(events))
        stream.recent.add(events)
        stream.offset, stream.stamp = last, events[-1].stamp
        stream.emit(events)
        ahead = stream.progress.ahead
        if ahead:
            for subscription in tuple(ahead):
                if subscription.offset <= stream.offset:
                    ahead.discard(subscription)
                    self.advance(subscription)

    # ── gaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hold(self, stream: Stream, batch: Batch) -> None:
        """Keep a batch that came too early, and read the log if the missing entries do not come soon."""
        progress = stream.progress
        size = size_of(batch)
        if len(progress.held) < HELD and progress.held_bytes + size <= HELD_BYTES:
            replaced = progress.held.get(batch.entries[0].offset)
            progress.held_bytes += size - (0 if replaced is None else size_of(replaced))
            progress.held[batch.entries[0].offset] = batch
        progress.wanted = max(progress.wanted, batch.entries[-1].offset)
        if not progress.filling:
            progress.filling = True
            asyncio.get_running_loop().call_later(self._patience, self._fill_if_needed, stream)

    def _emit_held(self, stream: Stream) -> None:
        held = stream.progress.held
        while held:
            first = min(held)
            if first > stream.offset + 1:
                return
            batch = held.pop(first)
            stream.progress.held_bytes -= size_of(batch)
            if stream.contradicted_by(batch):
                self._doubt(stream, stream.position)
                return
            self._emit(stream, stream.prepare(e for e in batch.entries if e.offset > stream.offset))

    def catch_up(self, stream: Stream, offset: int) -> None:
        """Move the stream to ``offset``, which the log is known to reach."""
        progress = stream.progress
        progress.wanted = max(progress.wanted, offset)
        if not progress.filling and progress.wanted > stream.offset:
            progress.filling = True
            self._fill_if_needed(stream)

    def _fill_if_needed(self, stream: Stream) -> None:
        if stream.progress.wanted > stream.offset and not stream.closed:
            self._spawn(self._fill(stream))
        else:
            stream.progress.filling = False

    async def _fill(self, stream: Stream) -> None:
        """Read the missing entries, once for all subscriptions of the stream."""
        progress = stream.progress
        try:
            while stream.offset < progress.wanted:
                asked, wanted = stream.mark, progress.wanted
                try:
                    page = await self.page(stream, asked.offset, asked.position.stamp)
                except Diverged:
                    await self.examine(stream, doubting=asked.position)
                    continue
                except Trimmed as gone:
                    if stream.mark == asked:
                        self._begin_after_loss(stream, gone.head)
                    continue
                if stream.generation != asked.generation:
                    continue
                if not page and progress.wanted == wanted:
                    return  # the log does not have it (yet): the next comparison will tell
                if any(event.offset == stream.offset and event.stamp != stream.stamp for event in page):
                    # While the page was read, another entry took its place.
                    await self.examine(stream, doubting=stream.position)
                    continue
                self._emit(stream, [event for event in page if (event.offset or 0) > stream.offset])
                self._emit_held(stream)
        except LogError as error:
            logger.warning(
                "a gap in topic %r after offset %d could not be filled yet; the next comparison with the log tries "
                "again: %s",
                stream.name,
                stream.offset,
                error,
            )
        finally:
            progress.filling = False

    # ── what the log says ────────────────────────────────────────────────────────────────────────────────────────────

    async def examine(self, stream: Stream, *, doubting: Position | None = None) -> None:
        """Compare the stream with the log now. On return it follows the log as it was after this call began, or later.
        Raises :class:`LogError` when the log does not answer.

        ``doubting`` is a position that was emitted and that the log may not hold any more: then the log renews the
        topic's epoch, if it does not.
        """
        progress = stream.progress
        if doubting is not None:
            progress.doubted = doubting
        while True:
            asked = stream.mark
            heads = await self._threads.run(self._log.heads, [stream.name])
            head = heads[stream.name]
            if progress.doubted is not None or asked.contradicted_by(head):
                for position in {progress.doubted or asked.position, asked.position}:
                    head = await self._threads.run(self._log.rotate_epoch, stream.name, position)
                progress.doubted = None
                if stream.generation == asked.generation and asked.contradicted_by(head):
                    self._begin_again(stream, head, "epoch")  # whatever the log says its epoch is
                    return
            if self._move(stream, head, asked):
                return

    def match(self, stream: Stream, head: Head, asked: Mark) -> None:
        """Move the stream to the log's ``head``. The log was asked when the stream stood at ``asked``."""
        if not self._move(stream, head, asked):
            self._examine_soon(stream)

    def _move(self, stream: Stream, head: Head, asked: Mark) -> bool:
        """Move the stream to ``head``, unless it has begun again since ``asked``, and with another epoch. Of two answers
        that were under way at the same time the later one to arrive may be the older or the newer one. Return ``False``
        then: only an answer to a new question decides."""
        same_generation = stream.generation == asked.generation
        if head.epoch != stream.epoch:
            if same_generation:
                self._begin_again(stream, head, "epoch")
            return same_generation
        if same_generation and asked.contradicted_by(head):
            self._doubt(stream, asked.position)
        elif head.offset > stream.offset:
            self.catch_up(stream, head.offset)
        return True

    def _doubt(self, stream: Stream, position: Position) -> None:
        """Ask the log whether it still holds a position that was emitted."""
        stream.progress.doubted = position
        self._examine_soon(stream)

    def _examine_soon(self, stream: Stream) -> None:
        if not stream.progress.examining:
            stream.progress.examining = True
            self._spawn(self._examine_quietly(stream))

    async def _examine_quietly(self, stream: Stream) -> None:
        try:
            await self.examine(stream)
        except LogError as error:
            report_failed_comparison(stream, error)
        finally:
            stream.progress.examining = False

    def _begin_after_loss(self, stream: Stream, head: Head) -> None:
        """Begin again: the log cannot go on from where the stream is."""
        same = head.epoch == stream.epoch and head.offset >= stream.offset
        self._begin_again(stream, head, "trimmed" if same else "epoch")

    def _begin_again(self, stream: Stream, head: Head, reason: str) -> None:
        """Start at the log's head, and reset the subscriptions that miss something by it."""
        known = stream.progress.wanted
        stream.begin(head)
        if reason == "trimmed":  # it is the same log, and may be known to reach further than this head
            stream.progress.wanted = max(head.offset, known)
        for subscription in tuple(stream.subscriptions):
            # Live ones stood where the stream stood. Others may be ahead, even of what the log said a moment ago.
            misses_nothing = (
                reason == "trimmed" and not subscription.live and subscription.offset >= head.floor
            )
            if not misses_nothing:
                subscription.offset, subscription.stamp = stream.offset, stream.stamp
                subscription.subscriber.write_reset(stream.reset(reason))
            self.advance(subscription)

    # ── subscriptions ────────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, subscription: Subscription) -> None:
        """Write what is at hand, up to the stream's offset; go live there, or arrange to be called again."""
        self.go_on(subscription, replay.advance(subscription))

    def go_on(self, subscription: Subscription, needs: Needs) -> None:
        """Get a subscription what it needs before it can go on."""
        stream = subscription.stream
        if needs is Needs.NOTHING:
            return
        if needs is Needs.A_TURN:
            asyncio.get_running_loop().call_soon(self.advance, subscription)
        elif needs is Needs.A_PAGE:
            self._pending.wait(subscription)
        elif needs is Needs.THE_STREAM:
            stream.progress.ahead.add(subscription)
            self.catch_up(stream, subscription.offset)
        else:
            self._doubt(stream, subscription.position)  # if the log has another epoch the stream begins again

    def at_hand(self, stream: Stream, after: int, stamp: int) -> bool:
        """Return whether :meth:`page` would not begin to read the log."""
        return stream.recent.after(after, stamp) is not None or self._pages.under_way(stream, after, stamp)

    async def page(self, stream: Stream, after: int, stamp: int) -> list[Prepared]:
        """The events after an entry, at most a page. Raises what :meth:`Log.read` raises.

        Empty only where the log ends: not below the stream's offset, unless the log is not the one that it was.
        """
        return stream.recent.after(after, stamp) or await self.read(stream, after, stamp)

    async def read(self, stream: Stream, after: int, stamp: int) -> list[Prepared]:
        """Read the events after an entry from the log, at most a page. If the log no longer has them, move the stream to the log's
        head. Raises what :meth:`Log.read` raises."""
        asked, found = await self._pages.read(stream, after, stamp)
        if isinstance(found, Trimmed):
            self.match(stream, found.head, asked)
            raise found
        return found

    def leave(self, subscription: Subscription) -> None:
        """Stop reading for a subscription that ends, unless others wait for the same page."""
        self._pending.leave(subscription)
