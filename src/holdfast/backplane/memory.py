"""Backplane within one process: for an installation of one process, and for tests with several hubs.

:class:`MemoryBackplane` alone is for an installation of one process. Its publisher hands events to the hub directly, and
there is no other process to reach.

:class:`MemoryExchange` connects several of them, each with a hub of its own, and can be told to treat messages as badly
as a network does::

    exchange = MemoryExchange()
    one, two = exchange.backplane(), exchange.backplane()
    exchange.fault = lambda topic, message: [message, message]    # everything arrives twice
"""

import asyncio
import threading
from collections.abc import Callable, Mapping

from holdfast.process.loops import call_soon_on

from .base import Backplane, Receive, ReceiveGroup

Fault = Callable[[str, bytes], list[bytes]]
"""Given a topic and a message on its way to one receiver, return the messages that arrive there instead, in order.

``[]`` loses it, ``[message, message]`` doubles it; a hook that keeps messages and returns them later delays or reorders.
"""


def faithful(topic: str, message: bytes) -> list[bytes]:
    """Deliver the message as it is: no fault."""
    return [message]


class MemoryBackplane(Backplane):
    """Reaches no other backplane, unless a :class:`MemoryExchange` made it."""

    shared = False

    def __init__(self, exchange: "MemoryExchange | None" = None) -> None:
        self._exchange = exchange
        self.shared = exchange is not None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Receive | None = None
        self._receive_group: ReceiveGroup | None = None
        self._interrupted: Callable[[], None] | None = None
        self._topics: set[str] = set()

    async def start(
        self, receive: Receive, receive_group: ReceiveGroup, interrupted: Callable[[], None]
    ) -> None:
        self._receive, self._receive_group, self._interrupted = receive, receive_group, interrupted
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        self._loop = self._receive = self._receive_group = self._interrupted = None
        self._topics.clear()

    async def subscribe(self, topic: str) -> None:
        self._topics.add(topic)

    async def unsubscribe(self, topic: str) -> None:
        self._topics.discard(topic)

    def send(self, topic: str, message: bytes) -> None:
        if self._exchange is not None:
            self._exchange.carry(topic, message, sender=self)

    def flush(self, timeout: float) -> bool:
        return True

    # ── what the exchange calls, in any thread ───────────────────────────────────────────────────────────────────────

    def listens_to(self, topic: str) -> bool:
        return topic in self._topics

    def deliver(self, topic: str, message: bytes) -> None:
        """Pass ``message`` to the receiver in its own loop, if it still listens by then."""

        def arrive() -> None:
            if self._receive is not None and topic in self._topics:
                self._receive(topic, message)

        self._soon(arrive)

    def deliver_group(self, topic: str, message: dict[str, object]) -> None:
        def arrive() -> None:
            if self._receive_group is not None and topic in self._topics:
                self._receive_group(topic, message)

        self._soon(arrive)

    def interrupt(self) -> None:
        def arrive() -> None:
            if self._interrupted is not None:
                self._interrupted()

        self._soon(arrive)

    def _soon(self, arrive: Callable[[], None]) -> None:
        """Call it in the next turn, also from the receiver's own loop: tests on one loop run the same way every time."""
        if self._loop is not None:
            call_soon_on(self._loop, arrive)  # a receiver whose loop is closed receives nothing any more


class MemoryExchange:
    """Connects the backplanes that it makes: a message reaches every *other* one that subscribed to its topic."""

    def __init__(self) -> None:
        self.fault: Fault = faithful
        self._lock = threading.Lock()
        self._backplanes: tuple[MemoryBackplane, ...] = ()

    def backplane(self) -> MemoryBackplane:
        """Return a new backplane, for one more hub."""
        made = MemoryBackplane(self)
        with self._lock:
            self._backplanes = (*self._backplanes, made)
        return made

    def carry(self, topic: str, message: bytes, *, sender: MemoryBackplane | None = None) -> None:
        """Deliver ``message`` to every backplane but ``sender``; :attr:`fault` is applied to each delivery. May be called from any
        thread."""
        for backplane in self._backplanes:
            if backplane is not sender and backplane.listens_to(topic):
                for arriving in self.fault(topic, message):
                    backplane.deliver(topic, arriving)

    def group_send(self, topic: str, message: Mapping[str, object]) -> None:
        """Act like code that sends to the topic's Channels group."""
        for backplane in self._backplanes:
            if backplane.listens_to(topic):
                backplane.deliver_group(topic, dict(message))

    def interrupt(self) -> None:
        """Tell every receiver that its connection was broken."""
        for backplane in self._backplanes:
            backplane.interrupt()
