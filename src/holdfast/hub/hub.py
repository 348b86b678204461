"""Who listens to what in this process: opening and closing streams, joining them, and bringing them the news.

What a stream does with the news is decided in ``order.py``. The heads of all streams are compared with the log's now
and then, so that even news lost without a trace are made good.

Everything here runs on one event loop and is not thread-safe, except :meth:`Hub.deliver`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from holdfast.backplane.base import Backplane
from holdfast.log.base import Batch, Log, LogError, LogUnavailable
from holdfast.metrics import Counters
from holdfast.presence.base import Change, PresenceStore
from holdfast.presence.memory import MemoryPresence
from holdfast.protocol.frames import JoinedPayload
from holdfast.protocol.positions import Position

from . import news
from .admission import Admission, Snapshot
from .conflation import Ticks
from .order import Order
from .outlet import Outlet
from .prepared import Prepared
from .presence import Presence
from .replay import reset
from .room import Attending
from .slow import Slow
from .stream import Stream, Subscription
from .threads import Inline, Threads
from .wheel import Wheel

logger = logging.getLogger("holdfast.hub")

DROP = Slow.drop()

GroupEvents = Callable[[str, dict[str, object]], "tuple[str, bytes] | None"]
"""Makes an event (name and JSON payload) of a message that other code sent to a topic's group, or refuses it."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds. ``patience``: how long news may overtake one another before the log is asked. ``lease``: after how long
    of silence the members of this server are taken for gone. ``rates`` says whether the rates of topics count."""

    compare: float = 2.0
    patience: float = 0.01
    linger: float = 10.0
    lease: float = 15.0
    rates: bool = True


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
        presence: PresenceStore | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._log = log
        self._backplane = backplane
        self._threads = threads
        self._origin = origin
        self._timing = timing or Timing()
        self._group_events = group_events
        self._batches_found = batches_found
        self._streams: dict[str, Stream] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._early: dict[str, list[Batch]] = {}  # news of topics that are just being opened
        self._closing: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._order = Order(log, threads, patience=self._timing.patience, spawn=self._spawn)
        self._admission = Admission(self._order)
        store = presence or MemoryPresence()
        self._tells_presence = store.shared and backplane.shared
        self.presence = Presence(
            store, seconds=self._timing.lease, send=self._send_presence, spawn=self._spawn
        )
        self.wheel = Wheel()
        self.counters = counters or Counters()
        self.loop = asyncio.get_running_loop()
        self._ticks = Ticks(self.loop)
        self._stopped = False

    @property
    def log_reads(self) -> int:
        """Return how often the log was read for subscribers that were behind, and to fill gaps."""
        return self._order.replay.reads

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        await self._backplane.start(self._receive, self._receive_group, self.interrupted)
        self._spawn(self._compare_forever())
        self._spawn(self._tidy_forever())
        self._spawn(self._turn_forever())

    async def stop(self) -> None:
        """End everything. What is still being read or opened is cut off; nothing more is written, and nobody can join."""
        self._stopped = True
        tasks = (*self._tasks, *self._opening.values(), *self._order.replay.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        await self.presence.stop()
        await self._backplane.stop()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
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
            await self._compare_quietly()

    async def _tidy_forever(self) -> None:
        """What may have to wait for the backplane, or for the presence store, and must not keep the log waiting."""
        while True:
            await asyncio.sleep(self._timing.compare)
            await self.presence.compare_quietly()
            await self._close_idle_streams()

    async def _compare_quietly(self) -> None:
        """What the promises rest on must go on, whatever went wrong this time."""
        try:
            await self.compare()
        except LogError as error:
            logger.warning("the log could not be compared with: %s", error)
        except Exception:
            logger.exception("the log could not be compared with")

    # ── joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────

    async def join(
        self,
        topic: str,
        outlet: Outlet,
        announce: Callable[[JoinedPayload], bool],
        *,
        durable: bool,
        slow: Slow = DROP,
        since: Position | None = None,
        snapshot: Snapshot | None = None,
        attending: Attending | None = None,
    ) -> Subscription | None:
        """Subscribe ``outlet`` to ``topic``.

        ``announce`` is called with what the client is to be told; what it returns says whether the client is still
        there. Then come the events from the client's position on, and then live ones. ``snapshot`` is awaited when there
        is no position, or none that can be honoured. ``slow`` says what the topic does, if it has no log, about a client
        that does not read, ``attending`` how the client takes part in the topic's presence, if it has one.
        Raises :class:`LogError` when the log does not answer.
        """
        stream = await self._visit(topic, durable, slow)
        try:
            if attending is not None:
                await self.presence.visit(topic, attending.limit)
            payload, start = await self._admission.answer(stream, since, snapshot)
            if stream.closed:
                raise LogUnavailable("the hub has stopped")
            if attending is not None:
                payload = self.presence.greet(topic, payload, attending)
            if not announce(payload):
                return None
            subscription = self._subscribe(stream, outlet, *start)
            if attending is not None:
                self.presence.enter(subscription, attending)
            return subscription
        finally:
            stream.visitors -= 1
            stream.rest(self.loop.time())

    def _subscribe(self, stream: Stream, outlet: Outlet, offset: int, stamp: int) -> Subscription:
        subscription = Subscription(stream, outlet, offset, stamp)
        stream.add(subscription)
        if stream.durable:
            self._order.replay.advance(subscription)
        else:
            stream.go_live(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Nothing more is written for this subscription."""
        self.presence.leave(subscription)
        subscription.stream.remove(subscription, self.loop.time())

    def resume(self, subscription: Subscription) -> None:
        """The outlet is ready again: go on where the subscription stands."""
        if not subscription.live:
            self._order.replay.advance(subscription)
        elif subscription.backlog is not None:
            if subscription.backlog.lost:
                subscription.backlog.lost = False
                subscription.outlet.write_reset(reset(subscription.stream, "interrupted"))
            subscription.release()
        self.presence.resume(subscription)

    # ── opening and closing ──────────────────────────────────────────────────────────────────────────────────────────

    async def _visit(self, topic: str, durable: bool, slow: Slow) -> Stream:
        """The topic's stream, which stays open at least until its ``visitors`` are counted down again."""
        while (stream := self._streams.get(topic)) is None:
            if self._stopped:
                raise LogUnavailable("the hub has stopped")
            task = self._opening.get(topic)
            if task is None:
                task = self._opening[topic] = self.loop.create_task(self._open(topic, durable, slow))
            await asyncio.shield(task)
        stream.visitors += 1
        stream.rest(self.loop.time())
        return stream

    async def _open(self, topic: str, durable: bool, slow: Slow) -> None:
        """Listen first and then read the head: what is published in between is in one of the two."""
        kept = slow if self._timing.rates else msgspec.structs.replace(slow, rate=None)
        stream = Stream(topic, kept, self.counters, self._ticks)
        stream.rest(self.loop.time())
        self._early[topic] = []
        try:
            if topic in self._closing:
                await self._closing[topic]
            await self._backplane.subscribe(topic)
            if durable:
                heads = await self._threads.run(self._log.heads, [topic])
                stream.begin(heads[topic])
        except BaseException:
            del self._early[topic]
            await self._unsubscribe(topic)
            raise
        finally:
            del self._opening[topic]
        self._streams[topic] = stream
        for batch in self._early.pop(topic):
            self._order.take(stream, batch)

    async def _close_idle_streams(self) -> None:
        now = self.loop.time()
        for stream in tuple(self._streams.values()):
            if stream.idle_since is not None and now - stream.idle_since >= self._timing.linger:
                await self._close(stream)

    async def _close(self, stream: Stream) -> None:
        stream.close()
        self.presence.close(stream.name)
        del self._streams[stream.name]
        closing = self._closing[stream.name] = self.loop.create_future()
        await self._unsubscribe(stream.name)
        del self._closing[stream.name]
        closing.set_result(None)

    async def _unsubscribe(self, topic: str) -> None:
        """What may arrive nevertheless does no harm."""
        try:
            await self._backplane.unsubscribe(topic)
        except Exception:
            logger.exception("the backplane did not unsubscribe from topic %r", topic)

    # ── news ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, items: Sequence[tuple[str, news.News]]) -> None:
        """Take news of topics from this process, all in one turn. May be called from any thread."""
        try:
            here = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            here = False
        if here:
            self._take_all(items)
        else:
            try:
                self.loop.call_soon_threadsafe(self._take_all, items)
            except RuntimeError:
                pass  # the loop has ended, and with it everybody who listened here

    def _take_all(self, items: Sequence[tuple[str, news.News]]) -> None:
        for topic, item in items:
            try:
                self._take(topic, item)
            except Exception:
                logger.exception("news of topic %r could not be handled", topic)

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
            stream.pass_on([Prepared(topic, name, payload)])

    def _take(self, topic: str, item: news.News) -> None:
        stream = self._streams.get(topic)
        if isinstance(item, news.Present):
            self.presence.take(topic, item.change())
        elif isinstance(item, news.Passing):
            if stream is not None:
                stream.pass_on(
                    [Prepared(topic, name, payload, exclude=x) for name, payload, x in item.events]
                )
        elif stream is not None:
            self._order.take(stream, item.batch(topic))
        elif topic in self._early:
            self._early[topic].append(item.batch(topic))

    def _send_presence(self, topic: str, change: Change) -> None:
        """Tell the other processes; if that fails, their comparison with the store finds it."""
        if not self._tells_presence or change.mark == change.before:
            return
        try:
            self._backplane.send(topic, news.encode(news.Present.of(change, self._origin)))
        except Exception:
            logger.exception("news of who is in topic %r did not reach everybody", topic)

    # ── comparing with the log ───────────────────────────────────────────────────────────────────────────────────────

    async def compare(self) -> None:
        """Finish what dead processes left unnumbered, and move every stream to where its log is."""
        if self._batches_found is not None:
            batches = await self._threads.run(self._log.sweep)
            if batches:
                self._batches_found(batches)
        asked = {name: (stream, stream.mark) for name, stream in self._streams.items() if stream.durable}
        if not asked:
            return
        heads = await self._threads.run(self._log.heads, list(asked))
        for name, (stream, mark) in asked.items():
            if not stream.closed:
                self._order.match(stream, heads[name], mark)

    def interrupted(self) -> None:
        """The backplane may have lost messages: say so where nothing can repair it, and repair the rest."""
        for stream in self._streams.values():
            if not stream.durable:
                stream.settle()
                for subscription in stream.audience:
                    subscription.outlet.write_reset(reset(stream, "interrupted"))
        self._spawn(self._compare_quietly())
        self.presence.interrupted()
