"""Support for Channels' in-memory layer: messages that this process sends to the groups of topics reach those topics.

The in-memory layer walks through all its groups at every ``receive`` and every ``group_send``. With a group per topic, each
join would cost more than the one before (5,000 topics: 100 joins a second), and would slow down ordinary consumers too. So
no topic enters a group there. Instead :class:`Groups` wraps ``group_send`` of the layer object, at the cost of one dict
lookup per message.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any
from weakref import WeakKeyDictionary

from channels.layers import InMemoryChannelLayer
from django.utils.module_loading import import_string

from .base import Backplane, Receive, ReceiveGroup
from .groups import group_name

Deliver = Callable[[dict[str, Any]], None]
"""Called with a copy of a message that was sent to a group, in the thread that sent it."""


def is_in_memory(configuration: Mapping[str, Any]) -> bool:
    """Return whether an entry of ``CHANNEL_LAYERS`` is Channels' in-memory layer, or a subclass of it."""
    try:
        backend = import_string(str(configuration.get("BACKEND", "")))
    except ImportError:
        return False  # Channels says so itself, as soon as the layer is used
    return isinstance(backend, type) and issubclass(backend, InMemoryChannelLayer)


class Groups:
    """Listeners to the groups of one layer object. :meth:`of` returns the one instance of a layer."""

    _known: "WeakKeyDictionary[InMemoryChannelLayer, Groups]" = WeakKeyDictionary()

    @classmethod
    def of(cls, layer: InMemoryChannelLayer) -> "Groups":
        found = cls._known.get(layer)
        if found is None:
            found = cls._known[layer] = cls(layer)
        return found

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        self._listeners: dict[str, tuple[Deliver, ...]] = {}
        original, listeners = type(layer).group_send, self._listeners

        async def group_send(group: str, message: dict[str, Any]) -> None:
            await original(layer, group, message)
            for deliver in listeners.get(group, ()):
                deliver(deepcopy(message))

        layer.group_send = group_send

    def listen(self, group: str, deliver: Deliver) -> None:
        self._listeners[group] = (*self._listeners.get(group, ()), deliver)

    def leave(self, group: str, deliver: Deliver) -> None:
        left = tuple(other for other in self._listeners.get(group, ()) if other is not deliver)
        if left:
            self._listeners[group] = left
        else:
            self._listeners.pop(group, None)


class WithGroups(Backplane):
    """The backplane ``inner``, where messages that this process sends to the groups of ``layer`` reach its own topics too."""

    def __init__(self, inner: Backplane, layer: InMemoryChannelLayer) -> None:
        self.inner = inner
        self.shared = inner.shared
        self._groups = Groups.of(layer)
        self._listening: dict[str, Deliver] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive_group: ReceiveGroup | None = None

    async def start(
        self, receive: Receive, receive_group: ReceiveGroup, interrupted: Callable[[], None]
    ) -> None:
        await self.inner.start(receive, receive_group, interrupted)
        self._leave_all()  # in case the previous loop ended without stop()
        self._receive_group, self._loop = receive_group, asyncio.get_running_loop()

    async def stop(self) -> None:
        self._receive_group = self._loop = None
        self._leave_all()
        await self.inner.stop()

    async def subscribe(self, topic: str) -> None:
        if topic not in self._listening:
            deliver = self._listening[topic] = self._deliver_to(topic)
            self._groups.listen(group_name(topic), deliver)
        await self.inner.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        deliver = self._listening.pop(topic, None)
        if deliver is not None:
            self._groups.leave(group_name(topic), deliver)
        await self.inner.unsubscribe(topic)

    def send(self, topic: str, message: bytes) -> None:
        self.inner.send(topic, message)

    def send_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        self.inner.send_many(messages)

    def has_others(self) -> bool:
        return self.inner.has_others()

    def flush(self, timeout: float) -> bool:
        return self.inner.flush(timeout)

    def _leave_all(self) -> None:
        for topic, deliver in self._listening.items():
            self._groups.leave(group_name(topic), deliver)
        self._listening.clear()

    def _deliver_to(self, topic: str) -> Deliver:
        def arrive(message: dict[str, Any]) -> None:
            if self._receive_group is not None and topic in self._listening:
                self._receive_group(topic, message)

        def deliver(message: dict[str, Any]) -> None:
            loop = self._loop
            try:
                if loop is not None:
                    loop.call_soon_threadsafe(arrive, message)
            except RuntimeError:
                pass  # the loop was closed, and nothing is received any more

        return deliver
