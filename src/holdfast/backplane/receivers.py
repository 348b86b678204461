"""Receivers of many groups of a Channels layer, which know the group that each message came from.

A layer does not say to which group a message was sent, only to which *channel* it came. So every topic needs its own
channel name. The cost depends on the layer:

- ``channels_redis.core`` keeps one queue for all channel names with the same beginning, up to the ``!``, and its
  ``receive_single`` returns the full names with each message: :class:`OneQueue`, **one task for all topics**, no memory
  for each (48 bytes). The queue's name begins with ``holdfast.`` and not with ``specific.``, so it is not the queue of
  the process's ordinary consumers: neither takes room from the other.
- Any other layer gets one task per topic that has subscribers here, waiting in ``receive`` as an ordinary consumer
  would: :class:`TaskPerTopic`. Measured with 10,000 topics: 4.7 KB each on ``channels_redis.pubsub`` and no difference
  in CPU per message from one topic; on core the same way would take 7.0 KB each, and every one of the 10,000 tasks
  would see, log and survive each outage by itself. (The in-memory layer takes 3.9 KB, but walks through all its groups
  with every message: 17 ms with 10,000 of them. It is for development.)

:class:`PubSub` is a :class:`TaskPerTopic` with one addition: redis-py renews a broken subscription silently, and messages
that were published in between are lost. This class reports that.
"""

import asyncio
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from .backoff import full_jitter
from .groups import group_name
from .tasks import STOP_SECONDS, end

Deliver = Callable[[str, dict[str, Any]], None]
"""Called with a topic and a message that came to its group."""

Trouble = Callable[[str], None]
"""Called with a reason when messages may be getting lost, or were lost."""


class Receiver(ABC):
    """The receiving half of one process on one layer."""

    confirms: bool = True
    """When ``join`` returns, is it certain that the next message will arrive?"""

    def __init__(self, layer: Any, deliver: Deliver, trouble: Trouble) -> None:
        self._layer, self._deliver, self._trouble = layer, deliver, trouble

    @abstractmethod
    async def close(self) -> None:
        """Stop receiving. The groups have been left already, as far as the layer answered."""

    @abstractmethod
    async def join(self, topic: str) -> None:
        """Enter the topic's group, or renew a membership. Raises whatever the layer raises."""

    @abstractmethod
    def leave(self, topic: str) -> Awaitable[None]:
        """Deliver nothing more of ``topic``, from this moment; leave its group when awaited."""


class OneQueue(Receiver):
    """For ``channels_redis.core.RedisChannelLayer`` and its subclasses."""

    ROOM = 10_000
    """Messages that may wait for one process. The layer's default is 100, and it silently drops messages beyond that;
    ``"channel_capacity": {"holdfast.*": …}`` in the layer's ``CONFIG`` overrides this."""

    def __init__(self, layer: Any, deliver: Deliver, trouble: Trouble) -> None:
        super().__init__(layer, deliver, trouble)
        self._queue = f"holdfast.{uuid.uuid4().hex}!"
        self._channels: dict[str, str] = {}
        self._topics: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    POLL_SECONDS = 2
    """How long one blocking request for a message may take. The layer asks for 5 seconds, which is also what redis-py
    8 has as the time after which it gives up reading: together every idle ``receive``, an ordinary consumer's too,
    fails every 5 seconds (https://github.com/django/channels_redis/issues/422)."""

    @classmethod
    def prepare(cls, layer: Any) -> None:
        """Set up the layer object as receivers, in this and in other processes, need it."""
        room = (re.compile(r"holdfast\."), cls.ROOM)  # capacities are looked up where messages are sent
        if room not in layer.channel_capacity:
            layer.channel_capacity.append(room)
        layer.brpop_timeout = min(layer.brpop_timeout, cls.POLL_SECONDS)

    async def close(self) -> None:
        await end([self._task] if self._task else [])
        async with asyncio.timeout(STOP_SECONDS):
            await self._layer.wait_received()

    async def join(self, topic: str) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._receive())
        channel = self._channels.get(topic)
        if channel is None:
            # Never used twice, so that leaving late cannot undo a later join.
            channel = self._channels[topic] = self._queue + uuid.uuid4().hex[:16]
            self._topics[channel] = topic
        await self._layer.group_add(group_name(topic), channel)

    def leave(self, topic: str) -> Awaitable[None]:
        channel = self._channels.pop(topic, None)
        self._topics.pop(channel or "", None)
        return self._discard(topic, channel)

    async def _discard(self, topic: str, channel: str | None) -> None:
        if channel is not None:
            await self._layer.group_discard(group_name(topic), channel)

    async def _receive(self) -> None:
        failures = 0
        while True:
            try:
                channels, message = await self._layer.receive_single(self._queue)
            except Exception as error:  # noqa: BLE001 - whatever Redis or a serializer raises
                self._trouble(f"{type(error).__name__}: {error}")
                await asyncio.sleep(full_jitter(failures))
                failures += 1
                continue
            failures = 0
            for channel in channels if isinstance(channels, list) else [channels]:
                if (topic := self._topics.get(channel)) is not None:
                    self._deliver(topic, message)


class TaskPerTopic(Receiver):
    """For any layer. Uses only what the specification of channel layers promises."""

    confirms = False  # pub/sub returns when the request is written, not when it is done

    def __init__(self, layer: Any, deliver: Deliver, trouble: Trouble) -> None:
        super().__init__(layer, deliver, trouble)
        self._channels: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._making: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._channels.clear()
        await end(tasks)

    async def join(self, topic: str) -> None:
        lock = self._making.setdefault(topic, asyncio.Lock())
        try:
            async with lock:
                channel = self._channels.get(topic)
                if channel is None:
                    channel = await self._layer.new_channel()
                    self._channels[topic] = channel
                    self._tasks[topic] = asyncio.create_task(self._receive(topic, channel))
        finally:
            if not lock.locked():
                self._making.pop(topic, None)
        await self._layer.group_add(group_name(topic), channel)

    def leave(self, topic: str) -> Awaitable[None]:
        return self._discard(topic, self._channels.pop(topic, None), self._tasks.pop(topic, None))

    async def _discard(self, topic: str, channel: str | None, task: asyncio.Task[None] | None) -> None:
        if channel is None or task is None:
            return
        try:
            await self._layer.group_discard(group_name(topic), channel)
        finally:
            await end([task])

    async def _receive(self, topic: str, channel: str) -> None:
        failures = 0
        while True:
            try:
                message = await self._layer.receive(channel)
            except Exception as error:  # noqa: BLE001 - whatever a layer raises
                self._trouble(f"{type(error).__name__}: {error}")
                await asyncio.sleep(full_jitter(failures))
                failures += 1
                continue
            failures = 0
            if self._channels.get(topic) == channel:
                self._deliver(topic, message)


class PubSub(TaskPerTopic):
    """For ``channels_redis.pubsub.RedisPubSubChannelLayer``."""

    async def join(self, topic: str) -> None:
        await super().join(topic)
        # The layer offers no way to hear of reconnections (its options on_disconnect and on_reconnect are never used),
        # so redis-py's own is used, on the connections that the layer keeps. Should they move, the pulse of
        # ChannelsBackplane still finds interruptions that last longer than a moment; tests/backplane would fail.
        inner = self._layer._get_layer() if hasattr(self._layer, "_get_layer") else None
        for shard in getattr(inner, "_shards", ()):
            connection = getattr(getattr(shard, "_pubsub", None), "connection", None)
            if connection is not None:
                connection.register_connect_callback(self._reconnected)

    async def _reconnected(self, connection: object) -> None:
        self._trouble("the subscription was interrupted")


def receiver_for(layer: Any, deliver: Deliver, trouble: Trouble) -> Receiver:
    """Return the best receiver for ``layer``."""
    if _is(layer, "channels_redis.core", "RedisChannelLayer"):
        return OneQueue(layer, deliver, trouble)
    if _is(layer, "channels_redis.pubsub", "RedisPubSubChannelLayer"):
        return PubSub(layer, deliver, trouble)
    return TaskPerTopic(layer, deliver, trouble)


def prepare(layer: Any) -> None:
    """Do what ``layer`` needs before anything is sent or received."""
    if _is(layer, "channels_redis.core", "RedisChannelLayer"):
        OneQueue.prepare(layer)


def _is(layer: Any, module: str, name: str) -> bool:
    """Return whether ``layer`` is an instance of that class, without importing the module, which need not be installed."""
    return any((kind.__module__, kind.__name__) == (module, name) for kind in type(layer).__mro__)
