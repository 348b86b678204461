"""The hub: opens and closes the streams of one process, lets subscribers join them, and delivers messages to them.

:mod:`holdfast.streams.log_follower` decides what a stream does with entries. The hub compares the heads of all streams with
the log's every few seconds, which repairs even the loss of a message that left no trace.

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
from holdfast.process.loops import call_on
from holdfast.protocol.positions import Position
from holdfast.roster.local import Attendance
from holdfast.roster.tracker import PresenceTracker
from holdfast.streams.conflation import Ticks
from holdfast.streams.log_follower import HELD, HELD_BYTES, LogFollower
from holdfast.streams.pages import size_of
from holdfast.streams.prepared import Prepared, Reader
from holdfast.streams.recent import ReplayMemory
from holdfast.streams.slow import Slow
from holdfast.streams.stream import Stream, Subscription
from holdfast.threads.threads import Inline, Threads

from . import messages
from .joining import Charge, Joins, PendingJoin, free
from .snapshots import Snapshot, Snapshots
from .timer_wheel import TimerWheel

logger = logging.getLogger("holdfast.hub")

DROP = Slow.drop()

GroupEvents = Callable[[str, dict[str, object]], "tuple[str, bytes] | None"]
"""Turns a message that other code sent to a topic's group into an event (name and JSON payload); ``None`` refuses it."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Times of a hub, in seconds.

    ``compare``: between two comparisons with the log. ``patience``: how long messages may overtake one another before the log
    is read. ``linger``: how long a stream without subscribers stays open, give or take a comparison. ``lease``: how long this
    server's members stay listed after its last heartbeat. ``snapshot``: how long a snapshot is reused while its topic has no new
    event. ``rates`` says whether the rates of topics are applied.
    """

    compare: float = 2.0
    patience: float = 0.01
    linger: float = 10.0
    lease: float = 15.0
    snapshot: float = 1.0
    rates: bool = True


class Hub:
    """The streams of one process, on one event loop."""

    def __init__(
        self,
        log: Log,
        backplane: Backplane,
        threads: Threads | Inline,
        *,
        timing: Timing | None = None,
        group_events: GroupEvents | None = None,
        batches_found: Callable[[list[Batch]], None] | None = None,
        presence: PresenceStore | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._log = log
        self._backplane = backplane
        self._threads = threads
        self._timing = timing or Timing()
        self._group_events = group_events
        self._batches_found = batches_found
        self._streams: dict[str, Stream] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._early: dict[str, list[Batch]] = {}  # entries of topics that are just being opened
        self._closing: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.follower = LogFollower(log, threads, patience=self._timing.patience, spawn=self._spawn)
        store = presence or MemoryPresence()
        self._tells_presence = store.shared and backplane.shared
        self.presence = PresenceTracker(
            store, seconds=self._timing.lease, send=self._send_presence, spawn=self._spawn
        )
        self._joins = Joins(self.follower, self.presence, Snapshots(self._timing.snapshot))
        self.wheel = TimerWheel()
        self.counters = counters or Counters()
        self.loop = asyncio.get_running_loop()
        self._ticks = Ticks(self.loop)
        self._memory = ReplayMemory()
        self._stopped = False
        self._log_away = False

    @property
    def log_reads(self) -> int:
        """Return how often the log was read for subscribers that were behind, and to fill gaps."""
        return self.follower.reads

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        await self._backplane.start(self._receive, self._receive_group, self.interrupted)
        self._spawn(self._compare_forever())
        self._spawn(self._tidy_forever())
        self._spawn(self._turn_forever())

    async def stop(self) -> None:
        """Cancel all reads and joins under way, end all subscriptions, and refuse further joins."""
        self._stopped = True
        tasks = (*self._tasks, *self._opening.values(), *self.follower.tasks)
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
            logger.error("a background task of the hub failed", exc_info=task.exception())

    async def _turn_forever(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.wheel.turn(self.loop.time())

    async def _compare_forever(self) -> None:
        while True:
            await asyncio.sleep(self._timing.compare)
            await self._compare_quietly()

    async def _tidy_forever(self) -> None:
        """Do the work that may have to wait for the backplane or the presence store, apart from comparisons with the log."""
        while True:
            await asyncio.sleep(self._timing.compare)
            await self.presence.compare_quietly()
            await self._close_idle_streams()

    async def _compare_quietly(self) -> None:
        """As :meth:`compare`; logs errors instead of raising them. Delivery depends on the next comparison taking place."""
        try:
            await self.compare()
        except LogError as error:
            if not self._log_away:  # once per outage
                self._log_away = True
                logger.warning(
                    "streams could not be compared with the log; trying again every %g seconds: %s",
                    self._timing.compare,
                    error,
                )
        except Exception:
            logger.exception(
                "streams could not be compared with the log; trying again in %g seconds", self._timing.compare
            )
        else:
            if self._log_away:
                self._log_away = False
                logger.warning("streams are compared with the log again")

    # ── joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────

    async def begin_join(
        self,
        topic: str,
        *,
        durable: bool,
        slow: Slow = DROP,
        since: Position | None = None,
        snapshot: Snapshot | None = None,
        attending: Attendance | None = None,
        charge: Charge = free,
        reader: Reader | None = None,
    ) -> PendingJoin:
        """Open ``topic`` for one client, and find the answer to its join. The caller then subscribes, in the same turn
        of the loop (:class:`PendingJoin`).

        The client's events begin after ``since``. ``snapshot`` is awaited when there is no such position, or when the
        log cannot go on from it. ``slow`` says what a topic without a log does about a client that does not read.
        ``attending`` says how the client takes part in the topic's presence, if the topic has one. ``charge`` is called
        before each read that this join alone causes, and for each part of a long list of members. ``reader`` reads events of the topic
        that were written in an older form.
        Raises :class:`LogError` when the log does not answer.
        """
        stream = await self._visit(topic, durable, slow, reader)
        try:
            return await self._joins.begin(stream, since, snapshot, attending, charge)
        finally:
            # Streams are closed in another task, so not before the caller subscribes in this turn.
            stream.visitors -= 1

    def leave(self, subscription: Subscription) -> None:
        """End a subscription. Nothing more is written for it."""
        self.presence.leave(subscription)
        self.follower.leave(subscription)
        subscription.stream.remove(subscription)

    def resume(self, subscription: Subscription) -> None:
        """Go on from where the subscription stands: its subscriber is ready again."""
        if not subscription.live:
            self.follower.advance(subscription)
        elif subscription.backlog is not None:
            if subscription.backlog.lost:
                subscription.backlog.lost = False
                subscription.subscriber.write_reset(subscription.stream.reset("interrupted"))
            subscription.release()
        self.presence.resume(subscription)

    # ── opening and closing ──────────────────────────────────────────────────────────────────────────────────────────

    async def _visit(self, topic: str, durable: bool, slow: Slow, reader: Reader | None) -> Stream:
        """Return the topic's stream. It stays open at least until the caller counts its ``visitors`` down again."""
        while (stream := self._streams.get(topic)) is None:
            if self._stopped:
                raise LogUnavailable("the hub has stopped")
            task = self._opening.get(topic)
            if task is None:
                task = self._opening[topic] = self.loop.create_task(self._open(topic, durable, slow, reader))
            await asyncio.shield(task)
        stream.visitors += 1
        stream.idle_since = None
        return stream

    async def _open(self, topic: str, durable: bool, slow: Slow, reader: Reader | None) -> None:
        """Subscribe first and then read the head, so that entries published in between are in one of the two."""
        kept = slow if self._timing.rates else msgspec.structs.replace(slow, rate=None)
        stream = Stream(topic, kept, self.counters, self._ticks, self._memory, reader)
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
            self.follower.on_entries(stream, batch)

    async def _close_idle_streams(self) -> None:
        """Close the streams that no client has used for ``linger`` seconds, and note which others are idle. Joins and leaves
        cost less because they need not keep the time of that."""
        now = self.loop.time()
        for stream in tuple(self._streams.values()):
            if stream.subscriptions or stream.visitors:
                continue
            if stream.idle_since is None:
                stream.idle_since = now
            elif now - stream.idle_since >= self._timing.linger:
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
        """Unsubscribe from the backplane. If that fails, messages that still arrive are ignored."""
        try:
            await self._backplane.unsubscribe(topic)
        except Exception:
            logger.exception("topic %r could not be unsubscribed from the backplane", topic)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, items: Sequence[tuple[str, messages.Delivery]]) -> None:
        """Take what this process published, each item with its topic, all in one turn. May be called from any thread."""
        call_on(self.loop, self._take_all, items)  # a loop that has ended has no subscribers

    def _take_all(self, items: Sequence[tuple[str, messages.Delivery]]) -> None:
        for topic, item in items:
            try:
                self._take(topic, item)
            except Exception:
                logger.exception("a message of topic %r could not be handled", topic)

    def _receive(self, topic: str, message: bytes) -> None:
        try:
            item = messages.decode(topic, message)
        except msgspec.MsgspecError:
            logger.warning("the backplane brought a message for %r that is not Holdfast's; dropped", topic)
            return
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
            stream.emit_ephemeral([Prepared(topic, name, payload)])

    def _take(self, topic: str, item: messages.Delivery) -> None:
        stream = self._streams.get(topic)
        if isinstance(item, Batch):
            if stream is not None:
                self.follower.on_entries(stream, item)
            elif topic in self._early:
                self._keep_early(self._early[topic], item)
        elif isinstance(item, Change):
            self.presence.take(topic, item)
        elif stream is not None:
            stream.emit_ephemeral(stream.prepare_passing(item))

    def _keep_early(self, early: list[Batch], batch: Batch) -> None:
        """Keep entries of a topic that is being opened, the newest of them: the stream reads the others from the log."""
        early.append(batch)
        while len(early) > 1 and (len(early) > HELD or sum(map(size_of, early)) > HELD_BYTES):
            del early[0]

    def _send_presence(self, topic: str, change: Change) -> None:
        """Tell the other processes; if that fails, their comparison with the store finds it."""
        if not self._tells_presence or change.mark == change.before:
            return
        try:
            self._backplane.send(topic, messages.encode(change))
        except Exception:
            logger.exception("a change of the members of topic %r was not sent to the other processes", topic)

    # ── comparing with the log ───────────────────────────────────────────────────────────────────────────────────────

    async def compare(self) -> None:
        """Number the entries that processes left unnumbered when they died, and move every stream to where its log is."""
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
                self.follower.match(stream, heads[name], mark)

    def interrupted(self) -> None:
        """Handle a backplane that may have lost messages: reset topics without a log, and compare the others with theirs
        (``docs/architecture.md``, "When Redis comes back")."""
        for stream in self._streams.values():
            if not stream.durable:
                stream.flush()
                for subscription in stream.audience:
                    subscription.subscriber.write_reset(stream.reset("interrupted"))
        self._spawn(self._compare_quietly())
        self.presence.interrupted()
