"""Backplane on any Channels layer that ``CHANNEL_LAYERS`` names.

**Out.** A message is ``group_send`` to the topic's group (:func:`~.groups.group_name`) as
``{"type": "holdfast.news", "topic": …, "data": …, "sender": …}``, from a :class:`~.topic_queues.TopicQueues`: on the receiving
event loop if this process has one, otherwise on the background loop.

**In.** The process enters each subscribed topic's group (:mod:`.receivers` explains how, and what it costs). Every other
message that arrives there was sent by other code with ``group_send`` and goes to ``receive_group``.

**Supervised.** A layer does not report that it lost messages. So each process is also in a private group, to which it sends
a *pulse* every few seconds. If the pulse does not come back (Redis was restarted and has forgotten the groups, or cannot be
reached, or our queue is full), then other messages did not arrive either. The process enters the groups again, and calls
``interrupted`` once a pulse comes back. It does the same after any error while receiving. Memberships expire in some layers
(``group_expiry``, a day); they are renewed after half of that time.

A layer between processes drops messages beyond its capacity; the core layer says so only in its own log
(``channels_redis.core``, level INFO). A ``ChannelFull`` that does reach us is counted in ``lost["full"]``.
"""

import asyncio
import base64
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.core.exceptions import ImproperlyConfigured

from holdfast.process.fork import reset_after_fork

from .backoff import full_jitter
from .base import Backplane, Receive, ReceiveGroup
from .groups import group_name
from .receivers import Receiver, prepare, receiver_for
from .tasks import end
from .topic_queues import TopicQueues

logger = logging.getLogger("holdfast.backplane")

NEWS = "holdfast.news"
ECHO = "holdfast.echo"

SUBSCRIBE_SECONDS = 2.0
"""Seconds to wait for a subscription; after that it is made in the background."""

LAYER_SECONDS = 5.0
"""Seconds after which one operation of a layer counts as failed."""

BACKLOG = 6
"""Times that a pulse gets more time because other messages arrive, behind which it may be waiting."""

AT_ONCE = 16
"""Groups that are entered at the same time after an outage."""


class ChannelsBackplane(Backplane):
    """The channel layer ``alias``.

    Every ``pulse`` seconds it checks within ``patience`` seconds that messages still arrive. ``now`` reads the clock by
    which memberships are renewed, in seconds.
    """

    def __init__(
        self,
        alias: str = "default",
        *,
        pulse: float = 5.0,
        patience: float = 5.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layer = _layer(alias)
        self._pulse_seconds, self._patience, self._now = pulse, patience, now
        #: The in-memory layer belongs to one process and to one thread: only the loop that receives may touch it.
        self.shared = not isinstance(self._layer, InMemoryChannelLayer)
        # From the object itself: the pub/sub layer forwards every other attribute to a part that exists only on a loop.
        known = vars(self._layer)
        self._renew_seconds = known.get("group_expiry", 86_400) / 2
        self._hosts: int = known.get("ring_size", 1)
        self._as_text = False
        prepare(self._layer)
        self._queues = TopicQueues(self._carry)
        self._forget()
        reset_after_fork(self)

    def _forget(self) -> None:
        self._id = uuid.uuid4().hex
        # Groups are spread over the hosts by their names; so many names reach each host almost certainly.
        pulses = 1 if self._hosts == 1 else 8 * self._hosts
        self._pulse_topics = tuple(f"\0pulse/{self._id}/{number}" for number in range(pulses))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receiver: Receiver | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._receive: Receive | None = None
        self._receive_group: ReceiveGroup | None = None
        self._interrupted: Callable[[], None] | None = None
        self._topics: set[str] = set()
        self._missing: set[str] = set()  # those of them whose group may not have been entered
        self._leaving: set[asyncio.Task[None]] = set()
        self._arrived = 0  # messages, of whatever kind
        self._echoes: dict[str, asyncio.Event] = {}
        self._reason = ""  # why messages may be getting lost; "" if all is well
        self._alarm: asyncio.Event | None = None

    def reset_in_child(self) -> None:
        """In a forked child, neither receive nor stop what the parent started."""
        self._forget()

    @property
    def lost(self) -> dict[str, int]:
        """Number of messages that this process could not send, by reason: overflow, expired, failed, full."""
        return dict(self._queues.lost)

    # ── sending: any thread ──────────────────────────────────────────────────────────────────────────────────────────

    def send(self, topic: str, message: bytes) -> None:
        if self.shared or self._queues.binding.bound:
            self._queues.put(topic, message)

    def flush(self, timeout: float) -> bool:
        return self._queues.flush(timeout)

    async def _carry(self, topic: str, message: bytes) -> None:
        news: dict[str, Any] = {"type": NEWS, "topic": topic, "sender": self._id}
        if not self._as_text:
            try:
                await self._group_send(topic, {**news, "data": message})
            except TypeError:
                self._as_text = True  # the layer's serializer knows no bytes (channels_redis: "json")
            else:
                return
        await self._group_send(topic, {**news, "text": base64.b64encode(message).decode("ascii")})

    async def _group_send(self, topic: str, message: dict[str, Any]) -> None:
        if not self.shared and asyncio.get_running_loop() is not self._loop:
            return
        try:
            await self._layer.group_send(group_name(topic), message)
        except ChannelFull:
            self._queues.lost["full"] += 1

    # ── receiving: on one loop ───────────────────────────────────────────────────────────────────────────────────────

    async def start(
        self, receive: Receive, receive_group: ReceiveGroup, interrupted: Callable[[], None]
    ) -> None:
        if self._receiver is not None:
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError(
                    "This backplane was started already; stop() it before it is started again."
                )
            self._queues.flush(0)  # which leaves the loop that has ended without stop()
            self._forget()
        self._receive, self._receive_group, self._interrupted = receive, receive_group, interrupted
        self._loop = asyncio.get_running_loop()
        self._alarm = asyncio.Event()
        self._receiver = receiver_for(self._layer, self._deliver, self._trouble)
        self._queues.binding.loop = self._loop
        for pulse in self._pulse_topics:
            await self.subscribe(pulse)
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        receiver, keeper = self._receiver, self._keeper
        if receiver is None or keeper is None:
            return
        await self._queues.drained(LAYER_SECONDS)
        self._queues.binding.loop = None
        self._receive = self._receive_group = self._interrupted = None
        await end([keeper])
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                if self._leaving:
                    await asyncio.wait(self._leaving)
                await _for_each(self._topics, receiver.leave)
        except Exception as error:  # noqa: BLE001 - the groups are left in any case when they expire
            logger.info("The groups could not be left: %s: %s", type(error).__name__, error)
        try:
            await receiver.close()
        except Exception as error:  # noqa: BLE001 - whatever a layer raises
            logger.info("The channel layer could not be left: %s: %s", type(error).__name__, error)
        self._forget()

    async def subscribe(self, topic: str) -> None:
        if topic in self._topics and topic not in self._missing:
            return
        self._topics.add(topic)
        self._missing.add(topic)
        if self._reason:
            return  # _recover makes it, and then calls `interrupted`
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self._enter(topic)
        except Exception as error:  # noqa: BLE001 - whatever a layer raises
            self._trouble(f"{type(error).__name__}: {error}")

    async def unsubscribe(self, topic: str) -> None:
        if topic not in self._topics or self._receiver is None:
            return
        self._topics.discard(topic)
        self._missing.discard(topic)
        # Nothing more is delivered from here on; leaving the group may take longer.
        leaving = asyncio.create_task(self._leave(topic, self._receiver.leave(topic)))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _leave(self, topic: str, left: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(LAYER_SECONDS):
                await left
        except Exception as error:  # noqa: BLE001 - the membership expires by itself
            logger.debug("The group of %r could not be left: %s", topic, error)

    async def _enter(self, topic: str) -> None:
        """Enter the topic's group and confirm that its messages arrive, or raise."""
        receiver = self._receiver
        if receiver is None:
            raise RuntimeError("Start the backplane before subscribing: await backplane.start(…).")
        await receiver.join(topic)
        if not receiver.confirms:
            await self._hear(topic)
        if topic in self._topics:
            self._missing.discard(topic)
        else:  # left while it was being entered
            await receiver.leave(topic)

    async def _hear(self, topic: str) -> None:
        """Send echoes to the topic's group until one comes back."""
        number = uuid.uuid4().hex
        deadline = time.monotonic() + 2 * BACKLOG * self._patience  # should the caller's timeout be swallowed
        heard = self._echoes[number] = asyncio.Event()
        patience = 0.02
        try:
            while not heard.is_set():
                await self._layer.group_send(group_name(topic), {"type": ECHO, "number": number})
                try:
                    async with asyncio.timeout(patience):
                        await heard.wait()
                except TimeoutError:
                    if time.monotonic() > deadline:
                        raise
                    patience = min(1.0, patience * 2)
        finally:
            del self._echoes[number]

    def _deliver(self, topic: str, message: dict[str, Any]) -> None:
        """A message came to the group of ``topic``."""
        self._arrived += 1
        try:
            kind = message.get("type")
            if kind == ECHO:
                if (heard := self._echoes.get(message["number"])) is not None:
                    heard.set()
            elif topic not in self._topics or self._receive is None or self._receive_group is None:
                pass
            elif kind != NEWS:
                self._receive_group(topic, message)
            elif message["sender"] != self._id:
                text = message.get("text")
                self._receive(topic, message["data"] if text is None else base64.b64decode(text))
        except Exception:
            logger.exception("Failed to handle a message to the group of topic %r", topic)

    # ── keeping it alive ─────────────────────────────────────────────────────────────────────────────────────────────

    def _trouble(self, reason: str) -> None:
        """Messages may be getting lost, or were lost."""
        if not self._reason:
            self._reason = reason
            logger.warning("The backplane may have missed messages (%s).", reason)
        if self._alarm is not None:
            self._alarm.set()

    async def _keep(self) -> None:
        assert self._alarm is not None
        renewed = self._now()
        while True:
            try:
                async with asyncio.timeout(self._pulse_seconds):
                    await self._alarm.wait()
            except TimeoutError:
                await self._feel_pulse()
            if self._reason:
                await self._recover()
                renewed = self._now()
            elif self._now() - renewed >= self._renew_seconds:
                renewed = self._now()
                await self._renew()

    async def _feel_pulse(self) -> None:
        felt = asyncio.create_task(_for_each(self._pulse_topics, self._hear))
        try:
            for _ in range(BACKLOG):
                arrived = self._arrived
                await asyncio.wait([felt], timeout=self._patience)
                if felt.done():
                    felt.result()
                    return
                if arrived == self._arrived:
                    break
            self._trouble("a test message of this process to itself did not arrive")
        except Exception as error:  # noqa: BLE001 - whatever a layer raises
            self._trouble(f"{type(error).__name__}: {error}")
        finally:
            await end([felt])

    async def _recover(self) -> None:
        """Retry until every group is entered again and messages arrive; then call ``interrupted``."""
        assert self._alarm is not None
        for attempt in range(2**31):
            self._alarm.clear()
            try:
                async with asyncio.timeout(LAYER_SECONDS):
                    await _for_each(self._pulse_topics, self._join)
                    await _for_each(self._pulse_topics, self._hear)
                await _for_each(self._topics, self._join)
                while self._missing:
                    await _for_each(self._missing, self._enter_in_time)
                if not self._alarm.is_set():
                    break
            except Exception as error:  # noqa: BLE001 - whatever a layer raises
                logger.debug("The backplane is not back yet: %s: %s", type(error).__name__, error)
            await asyncio.sleep(full_jitter(attempt))
        self._reason = ""
        logger.warning("The backplane receives again.")
        if self._interrupted is not None:
            try:
                self._interrupted()
            except Exception:
                logger.exception("Failed to handle an interruption of the backplane")

    async def _renew(self) -> None:
        try:
            await _for_each(self._topics, self._join)
        except Exception as error:  # noqa: BLE001 - whatever a layer raises
            self._trouble(f"{type(error).__name__}: {error}")

    async def _join(self, topic: str) -> None:
        if topic in self._topics and self._receiver is not None:
            async with asyncio.timeout(LAYER_SECONDS):
                await self._receiver.join(topic)

    async def _enter_in_time(self, topic: str) -> None:
        if topic in self._missing:
            async with asyncio.timeout(LAYER_SECONDS):
                await self._enter(topic)


async def _for_each(topics: Iterable[str], do: Callable[[str], Awaitable[None]]) -> None:
    """Call ``do`` for each of ``topics``, :data:`AT_ONCE` at the same time. The first error ends it and is raised."""
    waiting = iter(list(topics))

    async def work() -> None:
        for topic in waiting:
            await do(topic)

    workers = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()


def _layer(alias: str) -> Any:
    layer = get_channel_layer(alias)
    if layer is None:
        raise ImproperlyConfigured(
            f"HOLDFAST's backplane is the channel layer {alias!r}, but CHANNEL_LAYERS has no {alias!r}. "
            "Add it to CHANNEL_LAYERS, or name one that is there."
        )
    if "groups" not in getattr(type(layer), "extensions", ["groups"]):
        raise ImproperlyConfigured(
            f"The channel layer {alias!r} ({type(layer).__name__}) has no groups, which Holdfast's backplane needs. "
            "Use a layer that implements the groups extension, such as channels_redis."
        )
    return layer
