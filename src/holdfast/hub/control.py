"""Orders that every process with connections carries out: who has to leave, who has to be asked again.

They are kept in the log under a name that no client can join, and reach the other processes as any durable event does:
at once through the backplane, and by the next comparison with the log when the backplane has lost them. Given inside a
transaction they take effect if it commits. What the log does not take, and nobody can be told of, is kept until it does.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec
from django.db import DatabaseError, connections

from holdfast.log.base import Draft, Log, LogError
from holdfast.log.transactions import apart, when_committed, will_roll_back
from holdfast.protocol.frames import JoinedPayload, Reset

from .hub import Hub
from .postponed import Postponed
from .prepared import Burst
from .publisher import Publisher
from .replay import RETRY_SECONDS
from .waiting import in_waiting_thread

logger = logging.getLogger("holdfast.control")

TOPIC = "!control"
"""No route matches a name that begins with an exclamation mark."""

KEPT_SECONDS = 86400.0
"""How long orders stay in the log, and how long they are kept for it. A process that was away for longer asks about
everybody again."""

ATTEMPTS = 2
"""How often an order that nobody waits for is given before it is postponed: what failed may have been a connection that the
database had closed."""

FOLLOWING_MAY_TAKE = 5.0
"""Seconds that a hub's start waits for the log."""

REMEMBERED = 10_000
"""Orders that were carried out where they were given, and come once more by the log."""


class Order(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="order",
    forbid_unknown_fields=True,
):
    """What all orders share. ``id`` tells an order that was carried out where it was given from one that is new.

    Owners are those of :attr:`holdfast.connections.caller.Caller.owner`: ``"user:7"``, ``"client:…"``. ``reason`` is the
    application's word for the client.
    """

    id: str = msgspec.field(default_factory=partial(secrets.token_hex, 8))


class Evict(Order, frozen=True, kw_only=True, tag="evict"):
    """End the subscriptions of ``owners`` to a topic; of everybody, if it is ``None``."""

    topic: str
    owners: tuple[str, ...] | None = None
    reason: str | None = None


class Disconnect(Order, frozen=True, kw_only=True, tag="disconnect"):
    """Close every connection of ``owner``. ``gone``: because there is no such user any more."""

    owner: str
    gone: bool = False
    reason: str | None = None


class EndSession(Order, frozen=True, kw_only=True, tag="end_session"):
    """Close the connections of ``owner`` that were made with one session, given by its fingerprint. Without an owner: those
    of every user. A login as another user names only the session that it ended."""

    session: str
    owner: str | None = None


class Recheck(Order, frozen=True, kw_only=True, tag="recheck"):
    """Ask again: are ``owners`` still who they were, and may they be where they are? ``None``: everybody. With ``topic`` (a
    name) or ``route`` (of a class of topics) only about those who are there, and only about being there."""

    owners: tuple[str, ...] | None = None
    topic: str | None = None
    route: str | None = None


_decode: msgspec.json.Decoder[Evict | Disconnect | EndSession | Recheck] = msgspec.json.Decoder(
    Evict | Disconnect | EndSession | Recheck
)


class Follower(Protocol):
    """Who carries orders out. For the event loop of the hub."""

    def start(self, hub: Hub) -> None:
        """From now on there are orders of this hub."""

    def carry_out(self, orders: Sequence[Order]) -> None:
        """Do what they say, on this process's connections, before this returns as far as that is possible."""

    def start_over(self) -> None:
        """Orders may have been missed, nobody knows which."""

    def stop(self) -> None:
        """The hub stops."""


class Control:
    """Gives orders, and hands them to this process's followers. :meth:`give` may be called from any thread."""

    def __init__(self, log: Log, publisher: Publisher) -> None:
        self._log = log
        self._publisher = publisher
        self._followers: tuple[Follower, ...] = ()
        self._hub: Hub | None = None
        self._following: asyncio.Task[None] | None = None
        self._done: dict[str, None] = {}
        self.postponed = Postponed(self._write_alone, seconds=KEPT_SECONDS)
        """Orders that the log has not taken yet."""

    # ── giving orders ────────────────────────────────────────────────────────────────────────────────────────────────

    def give(self, *orders: Order) -> None:
        """Let every process carry the orders out; inside a transaction if and when it commits.

        This process does so as soon as its event loop turns, or right now on the loop. Raises :class:`LogError`; but for
        orders of a transaction that has committed nobody can be told, and they are kept as :meth:`insist` does.
        """
        if not self._log.in_transaction():
            self._give_now(*orders)
        elif self._log.staged_may_be_lost:
            when_committed(partial(self._surely, self._give_now, orders), self._log.alias)
        else:
            self._publisher.publish([_draft(order) for order in orders], durable=True)
            when_committed(partial(self.carry_out_here, orders), self._log.alias)

    def insist(self, *orders: Order) -> None:
        """As :meth:`give`, for orders that the caller did not ask for. Never raises, and leaves an open transaction as it was.

        If the log does not take the orders, those carry them out whom the backplane reaches now, and all others when the
        log takes them; until then this process keeps them. Orders of a transaction that can only roll back are dropped.
        """
        self._surely(self.give, orders)

    async def agive(self, *orders: Order) -> None:
        """As :meth:`give`, on the event loop. On return this process has carried the orders out, unless a thread waits for
        this code in ``async_to_sync`` and has a transaction open, of which they are a part then."""
        if await in_waiting_thread(partial(self._give_if_in_transaction, orders), _never):
            return
        await self._publisher.apublish([_draft(order) for order in orders], durable=True)
        self.carry_out_here(orders)

    def _give_if_in_transaction(self, orders: Sequence[Order]) -> bool:
        if inside := self._log.in_transaction():
            self.give(*orders)
        return inside

    def _give_now(self, *orders: Order) -> None:
        self._publisher.write([_draft(order) for order in orders])
        self.carry_out_here(orders)

    def _surely(self, give: Callable[..., None], orders: Sequence[Order]) -> None:
        alias = self._log.alias
        for _ in range(ATTEMPTS):
            if will_roll_back(alias):
                return
            try:
                with apart(alias):
                    give(*orders)
            except Exception as error:
                unknown = None if isinstance(error, LogError | DatabaseError) else error
                logger.error(
                    "%s is not in the log: %s", ", ".join(map(repr, orders)), error, exc_info=unknown
                )
            else:
                return
        when_committed(partial(self._postpone, orders), alias)

    def _postpone(self, orders: Sequence[Order]) -> None:
        drafts = [_draft(order) for order in orders]
        self.postponed.keep(drafts)
        self._publisher.publish(drafts, durable=False)
        self.carry_out_here(orders)

    def _write_alone(self, drafts: Sequence[Draft]) -> None:
        """What is postponed, in a thread that nobody else looks after."""
        try:
            self._publisher.write(drafts)
        finally:
            connections.close_all()

    def carry_out_here(self, orders: Sequence[Order]) -> None:
        """Carry orders out on this process's own connections, whatever becomes of them elsewhere."""
        hub = self._hub
        if hub is None:
            return
        try:
            here = asyncio.get_running_loop() is hub.loop
        except RuntimeError:
            here = False
        if here:
            self._hand_on(orders)
        else:
            try:
                hub.loop.call_soon_threadsafe(self._hand_on, orders)
            except RuntimeError:
                pass  # the loop has ended, and every connection with it

    # ── carrying them out ────────────────────────────────────────────────────────────────────────────────────────────

    def attach(self, follower: Follower) -> None:
        """From now on ``follower`` carries out what is ordered. To be called before the hub starts."""
        self._followers = (*self._followers, follower)

    async def follow(self, hub: Hub) -> None:
        """Listen to the orders of all processes, from now on. Does not wait long for a log that does not answer:
        once it does, everybody is asked about again."""
        self._hub = hub
        for follower in self._followers:
            follower.start(hub)
        self._following = hub.loop.create_task(self._listen(hub))
        await asyncio.wait([self._following], timeout=FOLLOWING_MAY_TAKE)

    async def _listen(self, hub: Hub) -> None:
        begun, tries = hub.loop.time(), 0
        while True:
            try:
                await hub.join(TOPIC, _Outlet(self), _welcome, durable=True)
                break
            except LogError as error:
                logger.warning("evictions and logouts elsewhere are not heard of yet: %s", error)
            except Exception:
                logger.exception("evictions and logouts elsewhere are not heard of yet")
            await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1
        if tries or hub.loop.time() - begun >= FOLLOWING_MAY_TAKE:
            self.start_over()

    async def stop(self) -> None:
        """The hub stops: nothing is carried out any more."""
        following, self._following, self._hub = self._following, None, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        for follower in self._followers:
            follower.stop()

    def forget_hub(self) -> None:
        """The hub's event loop has ended without stopping it."""
        self._hub = self._following = None

    def received(self, burst: Burst) -> None:
        """Orders have come: by the log, or from a process that could not reach it."""
        orders: list[Order] = []
        for event in burst.events:
            try:
                orders.append(_decode.decode(event.payload))
            except msgspec.MsgspecError as error:
                # A newer version's. What can be done about it without knowing it: ask about everybody.
                logger.warning(
                    "an order that this version does not know (%s): everybody is asked about", error
                )
                orders.append(Recheck())
        self._hand_on(orders)

    def start_over(self) -> None:
        for follower in self._followers:
            follower.start_over()

    def _hand_on(self, orders: Sequence[Order]) -> None:
        new = [order for order in orders if order.id not in self._done]
        for order in new:
            self._done[order.id] = None
        while len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]
        if not new:
            return
        for follower in self._followers:
            try:
                follower.carry_out(new)
            except Exception:
                logger.exception("orders could not be carried out; everybody is asked about")
                follower.start_over()


class _Outlet:
    """What the hub sees of this process's followers: a client that is always ready."""

    client = ""
    ready = True
    blocked = False

    def __init__(self, control: Control) -> None:
        self.write = control.received
        self._start_over = control.start_over

    def write_reset(self, reset: Reset) -> None:
        logger.warning("orders may have been missed (%s); everybody is asked about", reset.payload.reason)
        self._start_over()

    def fail(self) -> None:
        """Never called: :meth:`write` does not raise."""

    def stall(self) -> None:
        """Never called: nothing waits for an outlet that is ready."""


def _welcome(payload: JoinedPayload) -> bool:
    return True


async def _never() -> bool:
    """No thread waits, so there is no transaction to be part of."""
    return False


def _draft(order: Order) -> Draft:
    return Draft(topic=TOPIC, name=str(order.__struct_config__.tag), payload=msgspec.json.encode(order))
