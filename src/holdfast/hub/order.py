"""The rules of order: what a stream passes on next, and how it gets back to where its log is.

A stream knows the last offset that it passed on. Of news it passes on what comes next, drops what is older, and holds
back what lies beyond a gap until the gap is filled, from the news that come late or from the log. A log whose epoch has
changed, or that ends before what was passed on, is another log: everybody is told, and the stream starts again at its
head.

While the log is being asked a stream may move. So whoever asks notes the stream's :class:`Mark` before, and an answer
that the stream has outrun is not acted upon.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from holdfast.log.base import Batch, Head, Log, LogError, Trimmed

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
        self.replay = Replay(log, threads, self.catch_up, self.examine, self.match)

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
        stream.offset = last
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
            stream.held[batch.entries[0].offset] = batch.entries
        stream.wanted = max(stream.wanted, batch.entries[-1].offset)
        if not stream.filling:
            stream.filling = True
            asyncio.get_running_loop().call_later(self._patience, self._fill_if_needed, stream)

    def _pass_on_held(self, stream: Stream) -> None:
        while stream.held:
            first = min(stream.held)
            if first > stream.offset + 1:
                return
            entries = stream.held.pop(first)
            self._pass_on(stream, stream.prepare(e for e in entries if e.offset > stream.offset))

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
                    page = await self.replay.page(stream, asked.offset)
                except Trimmed as gone:
                    if stream.mark == asked:
                        self._lose(stream, gone.head)
                    continue
                if stream.generation != asked.generation:
                    continue
                if not page and stream.wanted == wanted:
                    return  # the log does not have it (yet): the next comparison will tell
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
        self.match(stream, heads[stream.name], asked)

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
        if head.epoch != stream.epoch or (same_life and head.offset < asked.offset):
            if same_life:  # else it has begun again since then, and the next comparison will tell
                self._begin_again(stream, head, "epoch")
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
                subscription.offset = stream.offset
                subscription.outlet.write_reset(reset(stream, reason))
            self.replay.advance(subscription)
