"""Backplane on Redis or Valkey: pub/sub, with redis-py and hiredis.

**Out.** ``send`` queues (:mod:`.message_buffer`), and a task sends all queued messages in one round trip
(:mod:`.redis_publisher`). Messages that wait for one topic go in one envelope (:mod:`.envelope`). While Redis is away, the
queue keeps the newest 10,000 messages or 32 MB, none longer than ten seconds. Lost messages are counted, and when Redis is
back, ``interrupted`` is called at the subscribers of the topics that lost some.

**In.** Each subscribed topic is a channel, ``<prefix>:<database>:{<topic>}``, subscribed to on one connection
(:mod:`.redis_subscriptions`). That connection is supervised and replaced when it breaks, and interruptions are reported. In
a cluster it is sharded pub/sub, with a connection to each node that has topics of this process. The braces are a hash tag: the channel is on the node that has the topic's
keys, so a script that changes those can publish there too (:meth:`RedisBackplane.announce`).

Nothing else arrives on these channels, so ``receive_group`` is never called: Channels' ``group_send`` reaches topics
through the Channels backplane only.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from holdfast.process.fork import reset_after_fork
from holdfast.redis.client import RedisStore, hash_tag

from .base import Backplane, Receive, ReceiveGroup
from .envelope import NotAnEnvelope, has_gap, heading, sender_of, split
from .message_buffer import MessageBuffer
from .redis_publisher import RedisPublisher
from .redis_subscriptions import Subscriptions
from .topology import Topology, publish_command, topology_of

logger = logging.getLogger("holdfast.backplane")

GAPS_TOGETHER = 0.1
"""Seconds for which reports of lost messages are gathered before ``interrupted`` is called: after an outage many processes
report them, for many topics."""

STOP_SECONDS = 5.0
"""Seconds for which :meth:`RedisBackplane.stop` waits for messages that are still to be sent."""


class RedisBackplane(Backplane):
    """The backplane on the Redis of ``store``.

    Connections are checked every ``pulse`` seconds, and have ``patience`` seconds to answer. A connection that broke
    silently is noticed after the sum of both.
    """

    def __init__(
        self,
        store: RedisStore,
        *,
        pulse: float = 5.0,
        patience: float = 5.0,
        buffer: MessageBuffer | None = None,
    ) -> None:
        self._store, self._pulse, self._patience = store, pulse, patience
        self._beginning = f"{store.prefix}:{store.address.db}:".encode()
        self._publisher = RedisPublisher(store, self._channel, pulse=pulse, patience=patience, buffer=buffer)
        self._inherited: list[object] = []
        self._forget()
        reset_after_fork(self)

    def _forget(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._nodes: Topology | None = None
        self._subscriptions: Subscriptions | None = None
        self._receive: Receive | None = None
        self._interrupted: Callable[[], None] | None = None
        self._reporting: asyncio.Handle | None = None

    def reset_in_child(self) -> None:
        """In a forked child, neither receive nor stop what the parent started. Also used when the loop that received has
        ended without :meth:`stop`."""
        self._inherited += [self._nodes, self._subscriptions]
        self._forget()

    def _channel(self, topic: str) -> bytes:
        return self._beginning + hash_tag(topic).encode("utf-8", "surrogatepass")

    @property
    def lost(self) -> dict[str, int]:
        """Number of messages that this process could not send, by reason: overflow, expired, failed."""
        return dict(self._publisher.lost)

    # ── sending: any thread ──────────────────────────────────────────────────────────────────────────────────────────

    def send(self, topic: str, message: bytes) -> None:
        self._publisher.put([(topic, message)])

    def send_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        self._publisher.put(messages)

    def flush(self, timeout: float) -> bool:
        return self._publisher.flush(timeout)

    def announce(self, topic: str) -> tuple[bytes, bytes, bytes]:
        """Return how a script in this Redis sends in this process's name: the command, the channel, and the beginning of the
        envelope. Such a message does not pass through the queue, so it overtakes the messages that wait there."""
        return (
            publish_command(self._store),
            self._channel(topic),
            heading(self._publisher.id, gap=False),
        )

    # ── receiving: on one loop ───────────────────────────────────────────────────────────────────────────────────────

    async def start(
        self, receive: Receive, receive_group: ReceiveGroup, interrupted: Callable[[], None]
    ) -> None:
        if self._loop is not None:
            if self._loop.is_running():
                raise RuntimeError(
                    "This backplane was started already; stop() it before it is started again."
                )
            self.reset_in_child()
            self._publisher.flush(0)  # which leaves that loop, too
        self._loop = asyncio.get_running_loop()
        self._receive, self._interrupted = receive, interrupted
        self._nodes = topology_of(self._store)
        self._subscriptions = Subscriptions(
            self._nodes,
            receive=self._arrived,
            interrupted=self._report,
            pulse=self._pulse,
            patience=self._patience,
        )
        self._publisher.binding.loop = self._loop

    async def stop(self) -> None:
        subscriptions, nodes = self._subscriptions, self._nodes
        if subscriptions is None or nodes is None:
            return
        if self._reporting is not None:
            self._reporting.cancel()
        self._forget()
        await subscriptions.close()
        await self._publisher.leave(STOP_SECONDS)
        try:
            await nodes.close()
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises
            logger.debug("A connection could not be closed: %s: %s", type(error).__name__, error)

    async def subscribe(self, topic: str) -> None:
        if self._subscriptions is None:
            raise RuntimeError("Start the backplane before subscribing: await backplane.start(…).")
        await self._subscriptions.subscribe(self._channel(topic), topic)

    async def unsubscribe(self, topic: str) -> None:
        if self._subscriptions is not None:
            self._subscriptions.unsubscribe(self._channel(topic))

    def _arrived(self, topic: str, envelope: bytes) -> None:
        if sender_of(envelope) == self._publisher.id:
            return
        try:
            messages = list(split(envelope))
        except NotAnEnvelope as error:
            logger.warning(
                "Dropped a message on the channel of topic %r that Holdfast did not send (%s).", topic, error
            )
            return
        for message in messages:
            if self._receive is not None:
                try:
                    self._receive(topic, message)
                except Exception:
                    logger.exception("Failed to handle a message of topic %r", topic)
        if has_gap(envelope) and self._reporting is None and self._receive is not None:
            self._reporting = asyncio.get_running_loop().call_later(GAPS_TOGETHER, self._report_gap)

    def _report_gap(self) -> None:
        self._reporting = None
        logger.warning("Another process lost messages that it could not send; resetting subscribers here.")
        self._report()

    def _report(self) -> None:
        if self._interrupted is not None:
            try:
                self._interrupted()
            except Exception:
                logger.exception("Failed to handle an interruption of the backplane")
