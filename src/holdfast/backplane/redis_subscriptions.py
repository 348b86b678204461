"""Subscriptions of one process in Redis: one per channel, on one connection to each node.

**Confirmed.** :meth:`Subscriptions.subscribe` returns only after Redis has confirmed the subscription.

**Kept.** A connection that ends is noticed at once. A silent one gets a ``PING`` every few seconds, and is closed if no
answer comes in time. Then all subscriptions are made again on a new connection, with growing, random pauses between
attempts. After the last one is confirmed, ``interrupted`` is called once. The same happens when a node of a cluster loses
a slot (it sends ``sunsubscribe`` for each channel) or refuses a channel (``MOVED``), and when sentinels name another
primary.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .backoff import full_jitter
from .redis_connection import RedisConnection, Reply, pack
from .tasks import end
from .topology import Topology

logger = logging.getLogger("holdfast.backplane")

SUBSCRIBE_SECONDS = 2.0
"""Seconds to wait for a subscription; after that it is made in the background."""

TOGETHER = 1000
"""Subscriptions that are made at once after an interruption."""

MESSAGES = (b"message", b"smessage")
UNSUBSCRIBED = (b"unsubscribe", b"sunsubscribe")

Awaited = asyncio.Future[bool]
"""Done with ``True`` when Redis confirmed, with ``False`` when it never will."""


class ChannelSubscription:
    """One channel to which this process subscribes."""

    __slots__ = ("channel", "line", "made", "topic")

    def __init__(self, channel: bytes, topic: str) -> None:
        self.channel, self.topic = channel, topic
        self.line: SubscribeConnection | None = None
        """The connection on which it was requested; ``None`` when it has to be requested (again)."""
        self.made: Awaited | None = None


class PendingAnswer(NamedTuple):
    """A command that was sent, and the future that waits for its answer."""

    answer: Awaited
    subscription: ChannelSubscription | None = None
    leaves: bytes | None = None
    """The channel to unsubscribe from, if that is the command."""


class SubscribeConnection:
    """The connection to one node, and the answers that are still to come on it, in the order of the commands."""

    __slots__ = ("asked", "link", "node")

    def __init__(self, node: str) -> None:
        self.node = node
        self.link: RedisConnection
        self.asked: deque[PendingAnswer] = deque()

    def ask(
        self, *command: bytes, subscription: ChannelSubscription | None = None, leaves: bytes | None = None
    ) -> Awaited:
        answer: Awaited = asyncio.get_running_loop().create_future()
        self.asked.append(PendingAnswer(answer, subscription, leaves))
        self.link.write(pack(*command))
        return answer

    def answered(self, result: bool) -> ChannelSubscription | None:
        """Complete the next pending answer; return the subscription that it was about."""
        if not self.asked:
            return None
        question = self.asked.popleft()
        if not question.answer.done():
            question.answer.set_result(result)
        return question.subscription

    def is_leaving(self, channel: bytes) -> bool:
        """Is the next pending answer that of unsubscribing from ``channel``?"""
        return bool(self.asked) and self.asked[0].leaves == channel


class Subscriptions:
    """The subscriptions of one event loop. ``receive`` gets the topic and the bytes of each message; neither it nor
    ``interrupted`` may raise.

    Every ``pulse`` seconds the connections get a ``PING``, and have ``patience`` seconds to answer.
    """

    def __init__(
        self,
        nodes: Topology,
        *,
        receive: Callable[[str, bytes], None],
        interrupted: Callable[[], None],
        pulse: float,
        patience: float,
    ) -> None:
        self._nodes, self._receive, self._interrupted = nodes, receive, interrupted
        self._pulse, self._patience = pulse, patience
        self._wanted: dict[bytes, ChannelSubscription] = {}
        self._lines: dict[str, SubscribeConnection] = {}
        self._learning = asyncio.Lock()
        self._opening: dict[str, asyncio.Lock] = {}
        self._reason = ""  # why messages may be getting lost; "" if all is well
        self._alarm = asyncio.Event()
        self._closed = False
        self._keeper = asyncio.create_task(self._keep())

    async def subscribe(self, channel: bytes, topic: str) -> None:
        """Return when Redis has confirmed it, or after :data:`SUBSCRIBE_SECONDS`; then it is made in the background."""
        subscription = self._wanted.get(channel)
        if subscription is None:
            subscription = self._wanted[channel] = ChannelSubscription(channel, topic)
        if self._reason:
            return  # _recover makes it, and then calls `interrupted`
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self._make([subscription])
        except TimeoutError:
            self._trouble(f"a subscription was not confirmed within {SUBSCRIBE_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises
            self._trouble(f"{type(error).__name__}: {error}")

    def unsubscribe(self, channel: bytes) -> None:
        """Receive nothing of ``channel`` from now on; unsubscribe in Redis soon."""
        subscription = self._wanted.pop(channel, None)
        if subscription is not None and subscription.line is not None:
            # No caller waits for it.
            _ = subscription.line.ask(self._nodes.unsubscribe, channel, leaves=channel)

    async def close(self) -> None:
        self._closed = True
        await end([self._keeper])
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            line.link.close()
        for line in lines:
            await line.link.closed()

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _make(self, subscriptions: Iterable[ChannelSubscription]) -> None:
        """Return when all are confirmed. Raises if one of them cannot be requested, or is refused."""
        await self._know()
        asked = [subscription for subscription in subscriptions if self._is_wanted(subscription)]
        for subscription in asked:
            if subscription.line is None:
                self._ask(subscription, await self._line(self._nodes.node_of(subscription.channel)))
        answers = [subscription.made for subscription in asked if subscription.made is not None]
        if answers:
            await asyncio.wait(answers)
        if not all(answer.result() for answer in answers):
            raise ConnectionError(self._reason or "a subscription was refused")

    def _ask(self, subscription: ChannelSubscription, line: SubscribeConnection) -> None:
        # Otherwise another task requested it first, or it was left in between.
        if subscription.line is None and self._is_wanted(subscription):
            subscription.line = line
            subscription.made = line.ask(
                self._nodes.subscribe, subscription.channel, subscription=subscription
            )

    async def _know(self) -> None:
        async with self._learning:
            if not self._nodes.known:
                await self._nodes.learn()

    def _is_wanted(self, subscription: ChannelSubscription) -> bool:
        return self._wanted.get(subscription.channel) is subscription

    async def _line(self, node: str) -> SubscribeConnection:
        async with self._opening.setdefault(node, asyncio.Lock()):
            line = self._lines.get(node)
            if line is None:
                connection = await self._nodes.connect(node)
                line = SubscribeConnection(node)
                line.link = RedisConnection(
                    connection,
                    receive=lambda reply: self._reply(line, reply),
                    ended=lambda reason: self._ended(line, reason),
                )
                if self._closed:
                    line.link.close()
                    await line.link.closed()
                    raise ConnectionError("the backplane is being stopped")
                self._lines[node] = line
            return line

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _reply(self, line: SubscribeConnection, reply: Reply) -> None:
        if isinstance(reply, list) and reply[0] in MESSAGES:
            subscription = self._wanted.get(reply[1])
            if subscription is not None:
                self._receive(subscription.topic, reply[2])
        elif isinstance(reply, list) and reply[0] in UNSUBSCRIBED and not line.is_leaving(reply[1]):
            subscription = self._wanted.get(reply[1])  # a node that gives a slot away ends its subscriptions
            if subscription is not None and subscription.line is line:
                self._lost(subscription, "a node of the cluster gave a slot away")
        elif isinstance(reply, Exception):
            refused = line.answered(False)
            if refused is not None:
                self._lost(refused, str(reply))
        else:
            line.answered(True)

    def _lost(self, subscription: ChannelSubscription, reason: str) -> None:
        if self._is_wanted(subscription):
            subscription.line = subscription.made = None
            self._trouble(reason)

    def _ended(self, line: SubscribeConnection, reason: str) -> None:
        if self._lines.get(line.node) is line:
            del self._lines[line.node]
        while line.asked:
            line.answered(False)
        for subscription in self._wanted.values():
            if subscription.line is line:
                subscription.line = subscription.made = None
        if not self._closed:
            self._trouble(reason)

    # ── keeping it alive ─────────────────────────────────────────────────────────────────────────────────────────────

    def _trouble(self, reason: str) -> None:
        """Messages may be getting lost, or were lost."""
        if not self._reason:
            self._reason = reason or "unknown"
            logger.warning("The backplane may have missed messages (%s).", self._reason)
        self._alarm.set()

    async def _keep(self) -> None:
        while True:
            try:
                await self._keep_once()
            except Exception as error:
                logger.exception("The supervision of the backplane's subscriptions failed; starting it again")
                self._trouble(f"{type(error).__name__}: {error}")
                await asyncio.sleep(full_jitter(0))

    async def _keep_once(self) -> None:
        try:
            async with asyncio.timeout(self._pulse):
                await self._alarm.wait()
        except TimeoutError:
            await self._feel_all()
        if self._reason:
            await self._recover()

    async def _feel_all(self) -> None:
        await asyncio.gather(*[self._feel(line) for line in self._lines.values()])

    async def _feel(self, line: SubscribeConnection) -> None:
        if line.link.open:
            await self._touch(line)

    async def _touch(self, line: SubscribeConnection) -> None:
        """Close the connection if the server is silent, or is not the right one any more."""
        link, pong = line.link, line.ask(b"PING")
        while link.open and not pong.done():
            before = link.replies
            await asyncio.wait([pong], timeout=self._patience)
            # Any reply shows that the server is alive: the pong may have to queue behind messages.
            if not pong.done() and link.replies == before:
                link.close(f"no answer from Redis for {self._patience:g} s")
        if link.open and await self._nodes.moved(link.connection):
            link.close("another server is the primary now")

    async def _recover(self) -> None:
        """Retry until every subscription is made again; then call ``interrupted``. The parts that hear of it are listed in
        ``docs/architecture.md`` ("When Redis comes back")."""
        reason = self._reason
        for attempt in range(2**31):
            self._alarm.clear()
            try:
                await self._feel_all()
                async with self._learning:
                    await self._nodes.learn()
                await self._make_all()
                # From here on, subscribe() waits for its own subscription. So the ones added until now are the last to make here,
                # however many come.
                self._reason = ""
                await self._make_all()
                if not self._alarm.is_set():
                    break
            except Exception as error:  # noqa: BLE001 - whatever redis-py raises
                logger.debug("The backplane is not back yet: %s: %s", type(error).__name__, error)
            self._reason = self._reason or reason
            await asyncio.sleep(full_jitter(attempt))
        logger.warning("The backplane receives again.")
        self._interrupted()

    async def _make_all(self) -> None:
        # Connect even if no subscription is wanted: the connection shows that Redis is back.
        if not self._wanted:
            await self._line(self._nodes.node_of(b""))
        missing = [subscription for subscription in self._wanted.values() if not _is_made(subscription)]
        for start in range(0, len(missing), TOGETHER):
            async with asyncio.timeout(2 * self._patience):
                await self._make(missing[start : start + TOGETHER])


def _is_made(subscription: ChannelSubscription) -> bool:
    return subscription.made is not None and subscription.made.done() and subscription.made.result()
