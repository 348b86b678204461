"""The rules of order: what a stream passes on next, and how it gets back to where its log is.

A stream knows the last offset that it passed on. Of news it passes on what comes next, drops what is older, and holds
back what lies beyond a gap until the gap is filled, from the news that come late or from the log. A log whose epoch has
changed is another log: everybody is told, and the stream starts again at its head.

A log that ends before what was passed on, or that has another entry in the place of one, went back in time: then the
stream has it renew the topic's epoch first (:meth:`Log.rotate_epoch`), so that it is another log for everybody, and stays so.
News contradict the stream when the entry that they follow, or one that they bring again, has another stamp than the one
that was passed on. Which of the two the log holds is then asked of the log.

While the log is being asked a stream may move. So whoever asks notes the stream's :class:`Mark` before, and an answer
that the stream has outrun is not acted upon.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from holdfast.log.base import Batch, Diverged, Head, Log, LogError, Trimmed
from holdfast.protocol.positions import Position

from .prepared import Prepared
from .replay import Replay, reset
from .stream import Mark, Stream
from .threads import Inline, Threads

logger = logging.getLogger("holdfast.hub")

HELD = 64
"""Batches that are held back beyond a gap; what comes on top is read from the log."""


class Order:
    """Moves the streams of one hub along."""

    def __init__(
        self,
        log: Log,
        threads: Threads | Inline,
        *,
        patience: float,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._log = log
        self._threads = threads
        self._patience = patience
        self._spawn = spawn
        self.replay = Replay(log, threads, self.catch_up, self.examine, self.match, self.doubt)

    # ── news ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, stream: Stream, batch: Batch) -> None:
        """Entries were given offsets, somewhere."""
        if batch.epoch != stream.epoch:
            # They are late, or the log is a new one. The log knows.
            if stream.durable and not stream.examining:
                stream.examining = True
                self._spawn(self._examine_quietly(stream))
            return
        first, last = batch.entries[0].offset, batch.entries[-1].offset
        if contradicted(stream, batch):
            self.doubt(stream, stream.position)
            return
        if last <= stream.offset:
            return
        if first > stream.offset + 1:
            self._hold(stream, batch)
            return
        self._pass_on(stream, stream.prepare(e for e in batch.entries if e.offset > stream.offset))
        self._pass_on_held(stream)

    def _pass_on(self, stream: Stream, events: Sequence[Prepared]) -> None:
        """Write the next events of a stream to everybody who is live."""
        if not events:
            return
        first, last = events[0].offset, events[-1].offset
        assert last is not None
        assert (first, last - stream.offset) == (stream.offset + 1, len(events))
        stream.remember(events)
        stream.offset, stream.stamp = last, events[-1].stamp
        stream.say(events)
        if stream.ahead:
            for subscription in tuple(stream.ahead):
                if subscription.offset <= stream.offset:
                    stream.ahead.discard(subscription)
                    self.replay.advance(subscription)

    # ── gaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hold(self, stream: Stream, batch: Batch) -> None:
        """Keep a batch that came too early, and ask the log if what is missing does not come soon."""
        if len(stream.held) < HELD:
            stream.held[batch.entries[0].offset] = batch
        stream.wanted = max(stream.wanted, batch.entries[-1].offset)
        if not stream.filling:
            stream.filling = True
            asyncio.get_running_loop().call_later(self._patience, self._fill_if_needed, stream)

    def _pass_on_held(self, stream: Stream) -> None:
        while stream.held:
            first = min(stream.held)
            if first > stream.offset + 1:
                return
            batch = stream.held.pop(first)
            if contradicted(stream, batch):
                self.doubt(stream, stream.position)
                return
            self._pass_on(stream, stream.prepare(e for e in batch.entries if e.offset > stream.offset))

    def catch_up(self, stream: Stream, offset: int) -> None:
        """The log is known to reach ``offset``: move there."""
        stream.wanted = max(stream.wanted, offset)
        if not stream.filling and stream.wanted > stream.offset:
            stream.filling = True
            self._fill_if_needed(stream)

    def _fill_if_needed(self, stream: Stream) -> None:
        if stream.wanted > stream.offset and not stream.closed:
            self._spawn(self._fill(stream))
        else:
            stream.filling = False

    async def _fill(self, stream: Stream) -> None:
        """Read what is missing, once for everybody who listens here."""
        try:
            while stream.offset < stream.wanted:
                asked, wanted = stream.mark, stream.wanted
                try:
                    page = await self.replay.page(stream, asked.offset, asked.position.stamp)
                except Diverged:
                    stream.doubted = asked.position
                    await self.examine(stream)
                    continue
                except Trimmed as gone:
                    if stream.mark == asked:
                        self._lose(stream, gone.head)
                    continue
                if stream.generation != asked.generation:
                    continue
                if not page and stream.wanted == wanted:
                    return  # the log does not have it (yet): the next comparison will tell
                if any(event.offset == stream.offset and event.stamp != stream.stamp for event in page):
                    stream.doubted = stream.position  # while the page was read, something else took its place
                    await self.examine(stream)
                    continue
                self._pass_on(stream, [event for event in page if (event.offset or 0) > stream.offset])
                self._pass_on_held(stream)
        except LogError as error:
            logger.warning(
                "a gap in topic %r after %d was not filled yet: %s", stream.name, stream.offset, error
            )
        finally:
            stream.filling = False

    # ── what the log says ────────────────────────────────────────────────────────────────────────────────────────────

    async def examine(self, stream: Stream) -> None:
        """Ask the log where it is, and move the stream there. Raises :class:`LogError`."""
        asked = stream.mark
        heads = await self._threads.run(self._log.heads, [stream.name])
        head = heads[stream.name]
        if stream.doubted is not None or went_back(head, asked):
            for position in {stream.doubted or asked.position, asked.position}:
                head = await self._threads.run(self._log.rotate_epoch, stream.name, position)
            stream.doubted = None
            if stream.generation == asked.generation and went_back(head, asked):
                self._begin_again(stream, head, "epoch")  # whatever the log says its epoch is
                return
        self.match(stream, head, asked)

    def doubt(self, stream: Stream, position: Position) -> None:
        """Something says that the log is not the one that this position was taken from. The log knows."""
        stream.doubted = position
        if not stream.examining:
            stream.examining = True
            self._spawn(self._examine_quietly(stream))

    async def _examine_quietly(self, stream: Stream) -> None:
        try:
            await self.examine(stream)
        except LogError as error:
            logger.warning("topic %r could not be compared with the log: %s", stream.name, error)
        finally:
            stream.examining = False

    def match(self, stream: Stream, head: Head, asked: Mark) -> None:
        """The log, asked when the stream stood at ``asked``, is at ``head``."""
        same_life = stream.generation == asked.generation
        if head.epoch != stream.epoch:
            if same_life:  # else it has begun again since then, and the next comparison will tell
                self._begin_again(stream, head, "epoch")
        elif same_life and went_back(head, asked):
            self.doubt(stream, asked.position)
        elif head.offset > stream.offset:
            self.catch_up(stream, head.offset)

    def _lose(self, stream: Stream, head: Head) -> None:
        """The log cannot go on from where the stream is."""
        same = head.epoch == stream.epoch and head.offset >= stream.offset
        self._begin_again(stream, head, "trimmed" if same else "epoch")

    def _begin_again(self, stream: Stream, head: Head, reason: str) -> None:
        """The stream cannot be continued: start at the log's head and tell everybody."""
        known = (
            stream.wanted if reason == "trimmed" else 0
        )  # of the same log more may be known than this head
        stream.begin(head)
        stream.wanted = max(stream.wanted, known)
        for subscription in tuple(stream.subscriptions):
            # Where live ones stand, the stream stood. Others may be ahead, even of what the log said a moment ago.
            misses_nothing = (
                reason == "trimmed" and not subscription.live and subscription.offset >= head.floor
            )
            if not misses_nothing:
                subscription.offset, subscription.stamp = stream.offset, stream.stamp
                subscription.outlet.write_reset(reset(stream, reason))
            self.replay.advance(subscription)


def contradicted(stream: Stream, batch: Batch) -> bool:
    """Does a batch of the stream's epoch follow, or bring again, another entry than the one that was passed on?"""
    if stream.contradicts(batch.entries[0].offset - 1, batch.before):
        return True
    again = stream.offset - batch.entries[0].offset  # where in the batch the last entry is that was passed on
    if again < 0:
        return False
    entry = batch.entries[min(again, len(batch.entries) - 1)]
    return stream.contradicts(entry.offset, entry.stamp)


def went_back(head: Head, asked: Mark) -> bool:
    """The log's head of the same epoch: is it before what was passed on, or another entry in its place?"""
    seen = asked.position
    if head.epoch != seen.epoch or head.offset > seen.offset:
        return False
    return head.offset < seen.offset or bool(head.stamp and seen.stamp and head.stamp != seen.stamp)
