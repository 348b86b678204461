"""Redis or Valkey as the backplane: pub/sub, spoken with redis-py and hiredis.

**Out.** ``send`` queues (:mod:`.outbox`), and a task sends all that is queued in one round trip (:mod:`.sender`); what
waits for one topic goes as one message (:mod:`.envelope`). While Redis is away the queue keeps the newest
10,000 messages or 32 MB, none longer than ten seconds; what is lost is counted, and when Redis is back the
subscribers of the topics that lost something are told (``interrupted`` on their side).

**In.** Each subscribed topic is a channel, ``<prefix>:<database>:{<topic>}``, subscribed to on one connection
(:mod:`.subscriptions`), which is watched, made anew, and its interruptions told. In a cluster it is sharded pub/sub, with
a connection to each node that has topics of ours. The braces are a hash tag: the channel is on the node that has the topic's
keys, so a script that changes those can publish there too (:meth:`RedisBackplane.announce`).

Nothing else arrives on these channels, so ``receive_group`` is never called: Channels' ``group_send`` reaches topics
through the Channels backplane only.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from holdfast.process.fork import start_anew_after_fork
from holdfast.redis.client import RedisStore, hash_tag

from .base import Backplane, Receive, ReceiveGroup
from .envelope import NotAnEnvelope, has_gap, heading, sender_of, split
from .nodes import Nodes, nodes_of, publish_command
from .outbox import Outbox
from .sender import Sender
from .subscriptions import Subscriptions

logger = logging.getLogger("holdfast.backplane")

GAPS_TOGETHER = 0.1
"""For how long what other processes lost is gathered before the hub is told: after an outage many say so, of many topics."""

STOP_SECONDS = 5.0
"""How long :meth:`RedisBackplane.stop` waits for what is still to be sent."""


class RedisBackplane(Backplane):
    """The Redis of ``store``.

    Connections are tried every ``pulse`` seconds, and given ``patience`` seconds to answer: one that broke without a word
    is noticed after the sum of both.
    """

    def __init__(
        self,
        store: RedisStore,
        *,
        pulse: float = 5.0,
        patience: float = 5.0,
        outbox: Outbox | None = None,
    ) -> None:
        self._store, self._pulse, self._patience = store, pulse, patience
        self._beginning = f"{store.prefix}:{store.address.db}:".encode()
        self._sender = Sender(store, self._channel, pulse=pulse, patience=patience, outbox=outbox)
        self._inherited: list[object] = []
        self._forget()
        start_anew_after_fork(self)

    def _forget(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._nodes: Nodes | None = None
        self._subscriptions: Subscriptions | None = None
        self._receive: Receive | None = None
        self._interrupted: Callable[[], None] | None = None
        self._telling: asyncio.Handle | None = None

    def start_anew(self) -> None:
        """A forked child neither receives nor stops what its parent started; nor does a loop what another one left behind
        that has ended without a word."""
        self._inherited += [self._nodes, self._subscriptions]
        self._forget()

    def _channel(self, topic: str) -> bytes:
        return self._beginning + hash_tag(topic).encode("utf-8", "surrogatepass")

    @property
    def lost(self) -> dict[str, int]:
        """How many messages this process could not send, by reason: overflow, expired, failed."""
        return dict(self._sender.outbox.lost)

    # ── sending: any thread ──────────────────────────────────────────────────────────────────────────────────────────

    def send(self, topic: str, message: bytes) -> None:
        self._sender.put([(topic, message)])

    def send_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        self._sender.put(messages)

    def flush(self, timeout: float) -> bool:
        return self._sender.flush(timeout)

    def announce(self, topic: str) -> tuple[bytes, bytes, bytes]:
        """How something else in this Redis, a script, sends in this process's name: the command, the channel, and what the
        envelope begins with. It does not pass through the queue, so it overtakes what waits there."""
        return (
            publish_command(self._store),
            self._channel(topic),
            heading(self._sender.id, gap=False),
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
            self.start_anew()
            self._sender.flush(0)  # which leaves that loop, too
        self._loop = asyncio.get_running_loop()
        self._receive, self._interrupted = receive, interrupted
        self._nodes = nodes_of(self._store)
        self._subscriptions = Subscriptions(
            self._nodes,
            receive=self._arrived,
            interrupted=self._tell,
            pulse=self._pulse,
            patience=self._patience,
        )
        self._sender.place.loop = self._loop

    async def stop(self) -> None:
        subscriptions, nodes = self._subscriptions, self._nodes
        if subscriptions is None or nodes is None:
            return
        if self._telling is not None:
            self._telling.cancel()
        self._forget()
        await subscriptions.close()
        await self._sender.leave(STOP_SECONDS)
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
        if sender_of(envelope) == self._sender.id:
            return
        try:
            messages = list(split(envelope))
        except NotAnEnvelope as error:
            logger.warning(
                "What came on the channel of topic %r is not Holdfast's (%s); dropped.", topic, error
            )
            return
        for message in messages:
            if self._receive is not None:
                try:
                    self._receive(topic, message)
                except Exception:
                    logger.exception("A message of topic %r could not be handled", topic)
        if has_gap(envelope) and self._telling is None and self._receive is not None:
            self._telling = asyncio.get_running_loop().call_later(GAPS_TOGETHER, self._tell_of_gap)

    def _tell_of_gap(self) -> None:
        self._telling = None
        logger.warning("Another process could not send all that it had; its subscribers here are told.")
        self._tell()

    def _tell(self) -> None:
        if self._interrupted is not None:
            try:
                self._interrupted()
            except Exception:
                logger.exception("The interruption could not be handled")
