"""Interface of a backplane, which carries messages between the processes of one installation.

A backplane may lose, double and reorder messages: the log repairs that for durable topics. It promises only this:

- ``send`` may be called from any thread, in any process, and never blocks for longer than it takes to queue.
- A message never reaches the backplane that sent it.
- Messages sent from one thread for one topic are usually delivered in order.
- When the backplane knows that messages may have been lost (a connection broke), it calls ``interrupted``.

A process that receives calls :meth:`Backplane.start` once on its event loop; one that only sends (a WSGI worker, a
Celery task, a command) never does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

Receive = Callable[[str, bytes], None]
"""Called on the event loop with a topic's name and a message."""

ReceiveGroup = Callable[[str, dict[str, object]], None]
"""Called on the event loop with a topic's name and a message that other code sent to the topic's group."""


class Backplane(ABC):
    """One way to reach the other processes."""

    shared: bool = True
    """``False`` if it reaches no other process."""

    @abstractmethod
    async def start(
        self, receive: Receive, receive_group: ReceiveGroup, interrupted: Callable[[], None]
    ) -> None:
        """Begin to receive on the running event loop."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop receiving and release what :meth:`start` acquired. Sending stays possible."""

    @abstractmethod
    async def subscribe(self, topic: str) -> None:
        """Return when messages for ``topic`` sent from now on will be received here.

        If the service cannot be reached, this neither fails nor takes more than a few seconds. The subscription is then
        made as soon as possible, and ``interrupted`` is called.
        """

    @abstractmethod
    async def unsubscribe(self, topic: str) -> None:
        """Stop receiving messages for ``topic``."""

    @abstractmethod
    def send(self, topic: str, message: bytes) -> None:
        """Queue ``message`` for every *other* process that subscribed to ``topic``. This backplane itself never receives it."""

    def send_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """As :meth:`send`, for messages of many topics, each with its topic. They leave together where that is possible."""
        for topic, message in messages:
            self.send(topic, message)

    def has_others(self) -> bool:
        """Return whether other processes are known to receive at present; ``False`` where that is not known.

        May be called from any thread; takes some microseconds.
        """
        return False

    @abstractmethod
    def flush(self, timeout: float) -> bool:
        """Wait until every queued message has been handed over, for at most ``timeout`` seconds; return whether that is so.

        Called when a process that only sends is about to end, and by ``holdfast.flush()``. Blocks: never call it on an event
        loop.
        """
