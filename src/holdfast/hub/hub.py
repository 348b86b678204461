"""Who listens to what in this process, and what they get.

The rules of order, for a topic with a log. The stream knows the last offset that it passed on. Of news from the
backplane or from this process it passes on what comes next, drops what is older, and holds back what lies beyond a
gap until the gap is filled, from the news that come late or from the log. The heads of all streams are compared with
the log's now and then, so that even news lost without a trace are made good. A log whose epoch has changed is
another log: everybody is told, and the stream starts again at its head.

Everything here runs on one event loop and is not thread-safe, except :meth:`Hub.deliver`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from holdfast.backplane.base import Backplane
from holdfast.log.base import Batch, Head, Log, LogError, Trimmed
from holdfast.protocol.frames import JoinedPayload
from holdfast.protocol.positions import Position

from . import news
from .outlet import Outlet
from .prepared import Prepared
from .replay import Replay, reset
from .stream import Stream, Subscription
from .threads import Inline, Threads
from .wheel import Wheel

logger = logging.getLogger("holdfast.hub")

GroupEvents = Callable[[str, dict[str, object]], "tuple[str, bytes] | None"]
"""Makes an event (name and JSON payload) of a message that other code sent to a topic's group, or refuses it."""

Snapshot = Callable[[], Awaitable[tuple[Position | None, bytes]]]
"""Takes a topic's state (JSON text) and the position that it agrees with, if the topic has a log."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds. ``patience``: how long news may overtake one another before the log is asked."""

    compare: float = 2.0
    patience: float = 0.01
    linger: float = 10.0


class Hub:
    """The streams of one process, on one event loop."""

    def __init__(
        self,
        log: Log,
        backplane: Backplane,
        threads: Threads | Inline,
        *,
        origin: str,
        timing: Timing | None = None,
        group_events: GroupEvents | None = None,
        batches_found: Callable[[list[Batch]], None] | None = None,
    ) -> None:
        self._log = log
        self._backplane = backplane
        self._threads = threads
        self._origin = origin
        self._timing = timing or Timing()
        self._group_events = group_events
        self._batches_found = batches_found
        self._streams: dict[str, Stream] = {}
        self._opening: dict[str, asyncio.Task[Stream]] = {}
        self._early: dict[str, list[Batch]] = {}  # news of topics that are just being opened
        self._tasks: set[asyncio.Task[None]] = set()
        self._replay = Replay(log, threads, self._catch_up)
        self.wheel = Wheel()
        self.loop = asyncio.get_running_loop()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        await self._backplane.start(self._receive, self._receive_group, self.interrupted)
        self._spawn(self._compare_forever())
        self._spawn(self._turn_forever())

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._backplane.stop()

    def _spawn(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of the hub failed", exc_info=task.exception())

    async def _turn_forever(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.wheel.turn(self.loop.time())

    async def _compare_forever(self) -> None:
        while True:
            await asyncio.sleep(self._timing.compare)
            try:
                await self.compare()
            except LogError as error:
                logger.warning("the log could not be compared with: %s", error)
            await self._close_idle_streams()

    # ── joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────

    async def join(
        self,
        topic: str,
        outlet: Outlet,
        announce: Callable[[JoinedPayload], bool],
        *,
        durable: bool,
        since: Position | None = None,
        snapshot: Snapshot | None = None,
    ) -> Subscription | None:
        """Subscribe ``outlet`` to ``topic``.

        ``announce`` is called with what the client is to be told; what it returns says whether the client is still
        there. Then come the events from the client's position on, and then live ones. ``snapshot`` is awaited when there
        is no position, or none that can be honoured.
        Raises :class:`LogError` when the log does not answer.
        """
        stream = await self._open(topic, durable)
        stream.visitors += 1
        try:
            payload, start = await self._admission(stream, since, snapshot)
            return self._subscribe(stream, outlet, start) if announce(payload) else None
        finally:
            stream.visitors -= 1
            stream.rest(self.loop.time())

    async def _admission(
        self, stream: Stream, since: Position | None, snapshot: Snapshot | None
    ) -> tuple[JoinedPayload, int]:
        """What a joining client is told, and the offset after which it is served. Nothing is awaited after the answer
        is known, so that it still holds when the subscription is made."""
        recovered = None if since is None else stream.durable and await self._can_follow(stream, since)
        if since is not None and recovered:
            head = max(since.offset, stream.offset)
            return JoinedPayload(epoch=stream.epoch, offset=head, recovered=True), since.offset
        position, state = (None, None) if snapshot is None else await snapshot()
        taken = msgspec.UNSET if state is None else msgspec.Raw(state)
        if not stream.durable:
            return JoinedPayload(recovered=recovered, snapshot=taken), 0
        if position is None:
            position = stream.position
        elif position.epoch != stream.epoch:
            self._begin_again(stream, Head(epoch=position.epoch, offset=position.offset))
        payload = JoinedPayload(
            epoch=position.epoch, offset=position.offset, recovered=recovered, snapshot=taken
        )
        return payload, position.offset

    def _subscribe(self, stream: Stream, outlet: Outlet, start: int) -> Subscription:
        subscription = Subscription(stream, outlet, start)
        stream.add(subscription)
        if stream.durable:
            self._replay.advance(subscription)
        else:
            stream.go_live(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Nothing more is written for this subscription."""
        subscription.stream.remove(subscription, self.loop.time())

    def resume(self, subscription: Subscription) -> None:
        """The outlet is ready again: go on where the subscription stands."""
        if not subscription.live:
            self._replay.advance(subscription)

    async def _can_follow(self, stream: Stream, since: Position) -> bool:
        """Is everything after ``since`` still there? Reads the log only when memory cannot tell."""
        if since.epoch != stream.epoch:
            return False
        if since.offset > stream.offset:
            head = (await self._threads.run(self._log.heads, [stream.name]))[stream.name]
            return head.epoch == since.epoch and since.offset <= head.offset
        if since.offset == stream.offset:
            return True
        try:
            return bool(await self._replay.page(stream, since.offset))
        except Trimmed:
            return False

    async def _open(self, topic: str, durable: bool) -> Stream:
        stream = self._streams.get(topic)
        if stream is not None:
            return stream
        task = self._opening.get(topic)
        if task is None:
            task = self._opening[topic] = self.loop.create_task(self._open_stream(topic, durable))
            task.add_done_callback(lambda _: self._opening.pop(topic, None) and None)
        return await asyncio.shield(task)

    async def _open_stream(self, topic: str, durable: bool) -> Stream:
        """Listen first and then read the head: what is published in between is in one of the two."""
        stream = Stream(topic)
        stream.idle_since = self.loop.time()
        self._early[topic] = []
        try:
            await self._backplane.subscribe(topic)
            if durable:
                heads = await self._threads.run(self._log.heads, [topic])
                stream.begin(heads[topic])
        except BaseException:
            self._early.pop(topic, None)
            await self._backplane.unsubscribe(topic)
            raise
        self._streams[topic] = stream
        for batch in self._early.pop(topic):
            self._pass_on_batch(stream, batch)
        return stream

    async def _close_idle_streams(self) -> None:
        now = self.loop.time()
        for stream in tuple(self._streams.values()):
            if stream.idle_since is not None and now - stream.idle_since >= self._timing.linger:
                del self._streams[stream.name]
                await self._backplane.unsubscribe(stream.name)

    # ── news ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, topic: str, item: news.News) -> None:
        """Take news from this process. May be called from any thread."""
        try:
            here = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            here = False
        if here:
            self._take(topic, item)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._take, topic, item)

    def _receive(self, topic: str, message: bytes) -> None:
        try:
            item = news.decode(message)
        except msgspec.MsgspecError:
            logger.warning("the backplane brought a message for %r that is not Holdfast's; dropped", topic)
            return
        if item.origin != self._origin:
            self._take(topic, item)

    def _receive_group(self, topic: str, message: dict[str, object]) -> None:
        stream = self._streams.get(topic)
        event = (
            self._group_events(topic, message)
            if self._group_events is not None and stream is not None
            else None
        )
        if stream is not None and event is not None:
            name, payload = event
            self._write_passing(stream, Prepared(topic, name, payload))

    def _take(self, topic: str, item: news.News) -> None:
        stream = self._streams.get(topic)
        if isinstance(item, news.Passing):
            if stream is not None:
                for name, payload, exclude in item.events:
                    self._write_passing(stream, Prepared(topic, name, payload, exclude=exclude))
        elif stream is not None:
            self._pass_on_batch(stream, item.batch(topic))
        elif topic in self._early:
            self._early[topic].append(item.batch(topic))

    def _write_passing(self, stream: Stream, event: Prepared) -> None:
        for subscription in stream.audience:
            outlet = subscription.outlet
            if subscription.live and outlet.ready and (not event.exclude or event.exclude != outlet.client):
                outlet.write(event)

    def _pass_on_batch(self, stream: Stream, batch: Batch) -> None:
        if batch.epoch != stream.epoch:
            if stream.durable:
                self._spawn(self._examine(stream))
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
        stream.remember(events)
        for event in events:
            before, exclude = stream.offset, event.exclude
            assert event.offset == before + 1
            stream.offset = event.offset
            for subscription in stream.audience:
                if not subscription.live:
                    continue
                outlet = subscription.outlet
                if not outlet.ready:
                    stream.fall_behind(subscription, before)
                elif not exclude or exclude != outlet.client:
                    outlet.write(event)
        if stream.ahead:
            for subscription in tuple(stream.ahead):
                if subscription.offset <= stream.offset:
                    stream.ahead.discard(subscription)
                    self._replay.advance(subscription)

    # ── gaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hold(self, stream: Stream, batch: Batch) -> None:
        """Keep a batch that came too early, and ask the log if what is missing does not come soon."""
        if len(stream.held) < 64:
            stream.held[batch.entries[0].offset] = batch.entries
        stream.wanted = max(stream.wanted, batch.entries[-1].offset)
        if not stream.filling:
            stream.filling = True
            self.loop.call_later(self._timing.patience, self._fill_if_needed, stream)

    def _pass_on_held(self, stream: Stream) -> None:
        while stream.held:
            first = min(stream.held)
            if first > stream.offset + 1:
                return
            entries = stream.held.pop(first)
            self._pass_on(stream, stream.prepare(e for e in entries if e.offset > stream.offset))

    def _catch_up(self, stream: Stream, offset: int) -> None:
        """The log is known to reach ``offset``: move there."""
        stream.wanted = max(stream.wanted, offset)
        if not stream.filling and stream.wanted > stream.offset:
            stream.filling = True
            self._fill_if_needed(stream)

    def _fill_if_needed(self, stream: Stream) -> None:
        if stream.wanted > stream.offset and self._streams.get(stream.name) is stream:
            self._spawn(self._fill(stream))
        else:
            stream.filling = False

    async def _fill(self, stream: Stream) -> None:
        """Read what is missing, once for everybody who listens here."""
        try:
            while stream.offset < stream.wanted:
                epoch, after = stream.epoch, stream.offset
                try:
                    page = await self._replay.page(stream, after)
                except Trimmed as gone:
                    self._begin_again(stream, gone.head)
                    return
                if not page or stream.epoch != epoch:
                    return  # the log does not have it (yet): the next comparison will tell
                if stream.offset == after:
                    self._pass_on(stream, page)
                else:
                    self._pass_on(stream, [event for event in page if (event.offset or 0) > stream.offset])
                self._pass_on_held(stream)
        except LogError as error:
            logger.warning(
                "a gap in topic %r after %d was not filled yet: %s", stream.name, stream.offset, error
            )
        finally:
            stream.filling = False

    # ── comparing with the log ───────────────────────────────────────────────────────────────────────────────────────

    async def compare(self) -> None:
        """Finish what dead processes left unnumbered, and move every stream to where its log is."""
        if self._batches_found is not None:
            batches = await self._threads.run(self._log.sweep)
            if batches:
                self._batches_found(batches)
        streams = {stream.name: stream for stream in self._streams.values() if stream.durable}
        if not streams:
            return
        for name, head in (await self._threads.run(self._log.heads, list(streams))).items():
            self._match(streams[name], head)

    def interrupted(self) -> None:
        """The backplane may have lost messages: say so where nothing can repair it, and repair the rest."""
        for stream in self._streams.values():
            if not stream.durable:
                for subscription in stream.audience:
                    subscription.outlet.write_reset(reset(stream, "interrupted"))
        self._spawn(self.compare())

    async def _examine(self, stream: Stream) -> None:
        """News of another epoch came: they are late, or the log is a new one. The log knows."""
        head = (await self._threads.run(self._log.heads, [stream.name]))[stream.name]
        self._match(stream, head)

    def _match(self, stream: Stream, head: Head) -> None:
        if head.epoch != stream.epoch:
            self._begin_again(stream, head)
        elif head.offset > stream.offset:
            self._catch_up(stream, head.offset)

    def _begin_again(self, stream: Stream, head: Head) -> None:
        """The stream cannot be continued: start at the log's head and tell everybody."""
        if (head.epoch, head.offset) == (stream.epoch, stream.offset):
            return
        reason = "trimmed" if head.epoch == stream.epoch else "epoch"
        stream.begin(head)
        stream.ahead.clear()
        for subscription in tuple(stream.subscriptions):
            if not subscription.live:
                subscription.offset = stream.offset
            subscription.outlet.write_reset(reset(stream, reason))
            self._replay.advance(subscription)
