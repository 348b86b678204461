"""One live connection: it carries out the effects of its session."""

import asyncio
import logging
import secrets
from collections.abc import Collection, Coroutine, Iterable
from typing import Any

from holdfast.auth.base import Identity
from holdfast.hub.hub import Hub
from holdfast.process.limited_log import log_limited, place_of
from holdfast.protocol import codes
from holdfast.protocol.codec import Codec
from holdfast.protocol.codes import Code
from holdfast.protocol.effects import Admit, Authenticate, Curb, Effect, Hangup, Perform, Probe, Release, Send
from holdfast.protocol.frames import HelloFrame, JoinFrame
from holdfast.protocol.server_protocol import Phase, ServerProtocol
from holdfast.threads.turns import Kind
from holdfast.topics.client_id import public_id
from holdfast.topics.owner import owner_of_client, owner_of_id

from .admission import NOT_COUNTED, Admission
from .expiry import ExpiryCheck
from .joined_topic import JoinedTopic
from .joining import Joining
from .manager import ConnectionManager
from .tokens import identity_of_token
from .transport import CLOSED, Transport

logger = logging.getLogger("holdfast.connections")

UNHANDLED = "%r: a message could not be handled; closing the connection"


class Connection(Joining):
    """The driver of one session. The transport that made it reports events to it: :meth:`receive`, :meth:`socket_full`,
    :meth:`paused`, :meth:`resumed`, :meth:`closed`. The hub writes to it (it is an :class:`~holdfast.streams.subscriber.Subscriber`), and the
    hub's wheel checks it. It owns no task while it is idle. For the event loop's thread only."""

    __slots__ = (
        "_counted",
        "_network",
        "_tasks",
    )

    def __init__(
        self,
        manager: ConnectionManager,
        hub: Hub,
        transport: Transport,
        codec: Codec,
        identity: Identity,
        admission: Admission | None = None,
    ) -> None:
        super().__init__(manager, hub, transport, codec, identity)
        # None while there is no task: an empty set takes as much memory as all fields of this object.
        self._tasks: set[asyncio.Task[None]] | None = None
        now = self._loop.time()
        self._session = ServerProtocol(
            id=secrets.token_hex(8),
            user=identity.user_id,
            codec=codec,
            limits=manager.policy.limits,
            now=now,
            duplex=transport.duplex,
        )
        manager.connections.add(self)
        manager.revocation.registered(self, now)
        hub.wheel.watch(self, self._next_look(now))
        self._network, self._counted = NOT_COUNTED if admission is None else admission.take()
        self._session.conduct.shared = manager.boundary.meter(identity.owner, self._network)
        self._begin(now, 0.0 if admission is None else admission.full)

    @property
    def id(self) -> str:
        return self._session.id

    @property
    def transport_name(self) -> str:
        return self._transport.name

    @property
    def client(self) -> str:
        """The client's public id. It is kept once neither the client's own id nor the user can change any more."""
        if self._client is not None:
            return self._client
        found = public_id(self._session.user, self._session.client)
        self._client = found if self._session.phase is Phase.OPEN else None
        return found

    def start(self, hello: HelloFrame, joins: Iterable[JoinFrame]) -> None:
        """Begin a connection on which the client cannot speak, with what its request carried. Call it once, first."""
        self._carry_out(self._session.start(hello, joins))

    # ── reports of the transport ─────────────────────────────────────────────────────────────────────────────────────

    def receive(self, data: str | bytes) -> None:
        """Handle a message of the client."""
        try:
            self._carry_out(self._session.receive(data, self._loop.time()))
        except Exception as error:  # noqa: BLE001 - logged there
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Log an unexpected error, and close the connection: the client must not wait for an answer that does not come."""
        log_limited(logger, logging.ERROR, place_of(error), UNHANDLED, self, error=error)
        self.hang_up(codes.FAILED)

    def oversized(self) -> None:
        """Answer a message that was too long, and that the transport has dropped."""
        self._carry_out(self._session.receive(None, self._loop.time()))

    def show_life(self) -> None:
        """Note that the client answered a ping of the transport, or sent one."""
        self._session.show_life(self._loop.time())

    def stalled(self) -> None:
        """Close the connection: the client does not read, or even the session's answers no longer fit the buffer."""
        self._hub.counters.connections_stalled += self._session.phase is not Phase.CLOSED
        self.hang_up(codes.STALLED)

    def shut_down(self, after: float | None = None) -> None:
        """Close the connection because the server stops. The client may reconnect ``after`` so many seconds. Without
        ``after``, the client gets a slot of its own among all connections of this process."""
        self.hang_up(codes.DRAINING, self._manager.turn(self._loop.time()) if after is None else after)

    def closed(self) -> None:
        """Clean up after the transport has closed. Running calls go on; pending joins are cancelled."""
        if self._transport is CLOSED:
            return  # a polling connection ends by itself, and once more when its session expires
        self._session.closed()
        self.ready = False
        for task in tuple(self._tasks or ()):
            task.cancel()
        self._leave_all()
        self._manager.connections.discard(self)
        self._manager.boundary.left(self._network, self.user_owner if self._counted else None)
        self._report_end()
        self._network, self._counted = NOT_COUNTED  # a transport may report its end again
        # The wheel holds this object until its next check, in half a minute or later. The transport must be freed before: with
        # its compression buffers, a server's protocol object takes up to 120 KB.
        self._transport, self.write = CLOSED, CLOSED.send_events

    def _leave_all(self) -> None:
        for joined in self._joined.values():
            self._hub.leave(joined.subscription)
        self._joined.clear()

    # ── requests of the hub ────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, now: float) -> float | None:
        """Close the connection if the client has been silent, or has not read, for too long. Called by the hub's wheel; returns
        the time of the next check, or ``None`` to end the checks."""
        if self not in self._manager.connections:
            return None
        paused = self._paused_since
        if self.identity.expired:
            self.hang_up(codes.TOKEN_EXPIRED)
        elif paused is not None and now >= paused + self._manager.policy.stall_seconds:
            self.stalled()
        else:
            self._carry_out(self._session.check(now))
        return None if self._session.phase is Phase.CLOSED else self._next_look(now)

    def _next_look(self, now: float) -> float:
        """Return the time of the next check: early enough to notice a pause, whenever it begins, before it lasts too long, and
        when the identity expires."""
        paused = now if self._paused_since is None else self._paused_since
        look = min(self._session.next_check(now), paused + self._manager.policy.stall_seconds)
        left = self.identity.seconds_left
        return look if left is None else min(look, now + left)

    def hang_up(self, code: Code, after: float | None = None, reason: str | None = None) -> None:
        """Close the connection from the server's side."""
        self._carry_out(self._session.hang_up(code, after, reason))

    # ── revocation ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def user_id(self) -> str | None:
        """The user's primary key as text; ``None`` for an anonymous one."""
        return self._session.user

    @property
    def user_owner(self) -> str | None:
        """The owner that stands for the user; ``None`` for an anonymous client. It does not read the user object: Django sets its
        primary key to ``None`` when the project deletes it."""
        user = self._session.user
        return None if user is None else owner_of_id(user)

    @property
    def owner(self) -> str:
        """The same as :attr:`ConnectionCaller.owner`, without reading the user object."""
        return self.user_owner or owner_of_client(self.client)

    @property
    def limit_key(self) -> str:
        """The same as :attr:`ConnectionCaller.limit_key`, without making a caller."""
        user = self._session.user
        return (self.identity.address_key or self.owner) if user is None else owner_of_id(user)

    def joined_topics(self) -> Collection[JoinedTopic]:
        """Return the topics that this connection has joined now."""
        return tuple(self._joined.values())

    def evict(self, topic: str, code: Code, reason: str | None = None) -> None:
        """End the subscription to a topic, if there is one. Calls that still wait in it are refused."""
        joined = self._joined.get(topic)
        if joined is not None:
            joined.revoked = code if code.retry else codes.FORBIDDEN
            self._report_eviction(topic, code)
            self._carry_out(self._session.expelled(topic, code, reason))

    def renew(self, identity: Identity) -> None:
        """Replace the identity. If the new one expires before the next check, the wheel checks once more."""
        now = self._loop.time()
        left, regular = identity.seconds_left, self._next_look(now)
        self.identity = identity
        if left is not None and now + left < regular:
            self._hub.wheel.watch(ExpiryCheck(self), now + left)
        for joined in self.joined_topics():
            if not identity.covers(joined.topic.name):
                self.evict(joined.topic.name, codes.FORBIDDEN)

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._transport.send(self._codec.encode(effect.frame))
                case Perform():
                    self._perform(effect)
                case Probe():
                    if not self._transport.probe():
                        self._transport.send(self._codec.encode(effect.frame))
                case Admit():
                    self._spawn(self._admit(effect))
                case Release():
                    joined = self._joined.pop(effect.topic, None)
                    if joined is not None:
                        self._hub.leave(joined.subscription)
                case Authenticate():
                    self._spawn(self._authenticate(effect))
                case Curb():
                    self._manager.boundary.slow(effect, self._transport)
                    self._report_curb(effect)
                case Hangup():
                    self.ready, self._code = False, effect.code
                    self._hub.counters.connections_flooded += effect.code is codes.FLOODING
                    if not effect.code.retry:  # a client that may not come back loses its waiting calls, too
                        for joined in self._joined.values():
                            joined.revoked = codes.FORBIDDEN
                    self._leave_all()
                    self._transport.close(effect.code.close or 1000, effect.code.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        context = self._manager.runtime.threads.context((Kind.DECISION, self.limit_key))
        task = self._loop.create_task(work, context=context)
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
            if not self._tasks:
                self._tasks = None

    async def _authenticate(self, effect: Authenticate) -> None:
        try:
            await self._take_token(effect)
        except Exception as error:  # noqa: BLE001 - logged there
            self._give_up(error)

    async def _take_token(self, effect: Authenticate) -> None:
        identity = await identity_of_token(self._manager, self.identity, effect.token, self.peer)
        if isinstance(identity, Code):
            self._carry_out(self._session.not_authenticated(effect.ref, identity))
            return
        user = str(identity.user_id)
        if effect.ref is None or user == self._session.user:
            before = self.user_owner if self._counted else None
            full = await self._manager.boundary.change_user(before, identity.owner)
            if self._session.phase is Phase.CLOSED:
                if not full and identity.owner is not None and identity.owner != before:
                    self._manager.boundary.leave_user(identity.owner)
                    self._counted = False  # the user before was counted out by the change
                return
            if full:
                self._refuse_user(full)
                return
            self._counted = True
            self.renew(identity.bound_like(self.identity, self._session.user))
        self._manager.connections.unindex(self)
        effects = self._session.authenticated(user, effect.ref)
        self._manager.connections.index(self)
        self._session.conduct.shared = self._manager.boundary.meter(self.user_owner, self._network)
        self._carry_out(effects)

    def __repr__(self) -> str:
        return f"<Connection {self._session.id} of {self.owner}>"
