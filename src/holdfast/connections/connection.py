"""One live connection: carries out what its session asks for."""

import asyncio
import logging
import secrets
from collections.abc import Collection, Coroutine, Iterable
from functools import partial
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import AnonymousUser

from holdfast.hub.hub import Hub
from holdfast.protocol import codes
from holdfast.protocol.codec import BadMessage, Codec
from holdfast.protocol.codes import Code
from holdfast.protocol.frames import JoinedPayload, Reset
from holdfast.session.effects import Admit, Authenticate, Effect, Hangup, Perform, Probe, Release, Send
from holdfast.session.session import RETRY_SECONDS, Phase, Session
from holdfast.topics.owner import LONGEST, owner_of_client, owner_of_key
from holdfast.topics.topic import Topic

from .admission import may_join
from .attending import attending
from .caller import Caller, user_id
from .failures import Verdict, code_of, detail_of, report, verdict_of
from .place import NOT_TRUSTED, Place
from .request import CallFailed
from .service import Service
from .sink import CLOSED, Sink
from .snapshot import snapshot_of

logger = logging.getLogger("holdfast.connections")


class Connection:
    """Drives one session. The transport that made it tells it what happens: :meth:`receive`, :meth:`socket_full`,
    :meth:`paused`, :meth:`resumed`, :meth:`closed`. It is what the hub writes to (an :class:`~holdfast.hub.outlet.Outlet`) and what
    the hub's wheel watches. It owns no task while nothing happens. For the event loop's thread only."""

    __slots__ = (
        "_codec",
        "_hub",
        "_loop",
        "_paused_since",
        "_places",
        "_service",
        "_session",
        "_sink",
        "_tasks",
        "blocked",
        "host",
        "ready",
        "session_key",
        "user",
        "write",
    )

    def __init__(
        self,
        service: Service,
        hub: Hub,
        sink: Sink,
        codec: Codec,
        *,
        user: Any = None,
        session_key: str | None = None,
        host: str | None = None,
    ) -> None:
        self.host = host
        self._service = service
        self._hub = hub
        self._loop = hub.loop
        self._sink: Sink = sink
        self._codec = codec
        self._places: dict[str, Place] = {}
        # An empty set weighs as much as all this connection's fields.
        self._tasks: set[asyncio.Task[None]] | None = None
        self._paused_since: float | None = None
        self.ready = True
        self.blocked = False
        self.write = sink.send_events
        self.user = user or AnonymousUser()
        now = self._loop.time()
        self._session = Session(
            id=secrets.token_hex(8),
            user=user_id(self.user),
            codec=codec,
            limits=service.policy.limits,
            now=now,
        )
        self.session_key = session_key
        service.connections.add(self)
        service.revocation.registered(self, now)
        hub.wheel.watch(self, self._next_look(now))

    @property
    def client(self) -> str:
        return self._session.client

    @property
    def caller(self) -> Caller:
        """Who this is to an action; made when it is asked for, since most connections never call one."""
        session = self._session
        return Caller(user=self.user, client=session.client, connection_id=session.id, host=self.host)

    # ── what the transport tells ─────────────────────────────────────────────────────────────────────────────────────

    def receive(self, data: str | bytes) -> None:
        """A message has arrived."""
        try:
            self._carry_out(self._session.receive(data, self._loop.time()))
        except Exception:
            logger.exception("%r could not handle a message, and is closed", self)
            self.hang_up(codes.FAILED)

    def show_life(self) -> None:
        """The client has answered a ping of the transport, or sent one."""
        self._session.show_life(self._loop.time())

    def socket_full(self) -> None:
        """The socket takes nothing more for now; the transport still does."""
        self.blocked = True
        self._paused_since = self._loop.time()

    def paused(self) -> None:
        """The transport cannot take more for now."""
        self.ready = False
        self._paused_since = self._loop.time()

    def resumed(self) -> None:
        """The transport has passed on all that it was given."""
        self._paused_since = None
        self.blocked = False
        self.ready = self._session.phase is not Phase.CLOSED
        for place in tuple(self._places.values()):
            if not self.ready:
                return
            self._hub.resume(place.subscription)

    def overflowed(self) -> None:
        """Even the answers of the session do not fit any more."""
        self._stalled()

    @property
    def busy(self) -> bool:
        """Are calls of this connection's under way?"""
        return self._session.calls > 0

    def shut_down(self, after: float | None = None) -> None:
        """The server is stopping. The client may come back ``after`` so many seconds; without them it gets a turn of its
        own among all of this process."""
        self.hang_up(codes.DRAINING, self._service.turn(self._loop.time()) if after is None else after)

    def closed(self) -> None:
        """The connection is gone. Calls that run go on; joins do not."""
        self._session.closed()
        self.ready = False
        for task in tuple(self._tasks or ()):
            task.cancel()
        self._leave_all()
        self._service.connections.discard(self)
        # The wheel keeps this object until its next look, half a minute or longer. The transport must not stay that long:
        # a server's protocol weighs up to 120 KB, with its buffers for compression.
        self._sink, self.write = CLOSED, CLOSED.send_events

    def _leave_all(self) -> None:
        for place in self._places.values():
            self._hub.leave(place.subscription)
        self._places.clear()

    # ── what the hub asks ────────────────────────────────────────────────────────────────────────────────────────────

    def write_reset(self, reset: Reset) -> None:
        self._sink.send(self._codec.encode(reset))

    def fail(self) -> None:
        # Not in the middle of a fan-out, which the hang-up would take part in.
        self._loop.call_soon(self.hang_up, codes.FAILED)

    def stall(self) -> None:
        self._loop.call_soon(self.hang_up, codes.STALLED)

    def _stalled(self) -> None:
        self._hub.counters.connections_stalled += self._session.phase is not Phase.CLOSED
        self.hang_up(codes.STALLED)

    def check(self, now: float) -> float | None:
        """The wheel's look: has the client been silent, or not reading, for too long?"""
        if self not in self._service.connections:
            return None
        paused = self._paused_since
        if paused is not None and now >= paused + self._service.policy.stall_seconds:
            self._stalled()
        else:
            self._carry_out(self._session.check(now))
        return None if self._session.phase is Phase.CLOSED else self._next_look(now)

    def _next_look(self, now: float) -> float:
        """Often enough that a pause which begins at any time is seen before it has lasted too long."""
        paused = now if self._paused_since is None else self._paused_since
        return min(self._session.next_check(now), paused + self._service.policy.stall_seconds)

    def hang_up(self, code: Code, after: float | None = None, reason: str | None = None) -> None:
        """End the connection from this side."""
        self._carry_out(self._session.hang_up(code, after, reason))

    # ── what is revoked ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def user_id(self) -> str | None:
        """The user's primary key as text; ``None`` for an anonymous one."""
        return self._session.user

    @property
    def owner(self) -> str:
        """As :attr:`Caller.owner`, without a look at the user."""
        user = self._session.user
        if user is None:
            return owner_of_client(self._session.client)
        return f"user:{user}" if len(user) <= LONGEST else owner_of_key(user)  # an order asks all connections

    def places(self) -> Collection[Place]:
        """The topics that this connection has joined, as they are now."""
        return tuple(self._places.values())

    def is_at(self, place: Place) -> bool:
        """Is it still there since it joined?"""
        return self._places.get(place.topic.name) is place

    def evict(self, topic: str, code: Code, reason: str | None = None) -> None:
        """End the subscription to a topic, if there is one; calls of it that still wait are refused."""
        place = self._places.get(topic)
        if place is not None:
            place.revoked = code if code.retry else codes.FORBIDDEN
            self._carry_out(self._session.expelled(topic, code, reason))

    def _revoke_all(self) -> None:
        """Whoever may not come back has lost the right to calls that still wait, too."""
        for place in self._places.values():
            place.revoked = codes.FORBIDDEN

    def renew(self, user: Any) -> None:
        """This is what the same user is now."""
        self.user = user

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._sink.send(self._codec.encode(effect.frame))
                case Perform():
                    self._perform(effect)
                case Probe():
                    if not self._sink.probe():
                        self._sink.send(self._codec.encode(effect.frame))
                case Admit():
                    self._spawn(self._admit(effect))
                case Release():
                    place = self._places.pop(effect.topic, None)
                    if place is not None:
                        self._hub.leave(place.subscription)
                case Authenticate():
                    self._spawn(self._authenticate(effect))
                case Hangup():
                    self.ready = False
                    if not effect.code.retry:
                        self._revoke_all()
                    self._leave_all()
                    self._sink.close(effect.code.close or 1000, effect.code.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, context=self._service.runtime.threads.context())
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
            user = await self._service.user_of(effect.token, self.host)
            found = user_id(user)
        except Exception as error:  # noqa: BLE001 - reported there
            report(logger, "the project's TOKEN_USER failed", error)
            why = (codes.UNAVAILABLE,) if verdict_of(error) is Verdict.UNAVAILABLE else ()
            self._carry_out(self._session.not_authenticated(effect.ref, *why))
            return
        if found is None:
            self._carry_out(self._session.not_authenticated(effect.ref))
            return
        if effect.ref is None or found == self._session.user:
            self.user, self.session_key = user, None
        self._carry_out(self._session.authenticated(found, effect.ref))

    async def _admit(self, effect: Admit) -> None:
        """Decide on a join. Unknown topics and forbidden ones look the same from outside."""
        session, asked = self._session, effect.topic
        effects: list[Effect] = []
        revocation, named = self._service.revocation, False
        try:
            topic = self._service.registry.resolve(asked, session.user)
            while True:
                await revocation.settled(self)
                begun = revocation.recent.newest
                threads = self._service.runtime.threads
                if topic is None or not await may_join(threads, topic, self.user, self.host):
                    self._service.explanations.refused(asked, topic, self.user, self._loop.time())
                    effects = session.refused(effect.ref, asked, codes.FORBIDDEN)
                    break
                if not named and not session.admitted(asked, topic.name):
                    effects = session.refused(effect.ref, asked, codes.ALREADY_JOINED, topic=topic.name)
                    break
                named = True
                if await self._join(effect, topic, begun):
                    return
        except Exception as error:  # noqa: BLE001 - reported there
            # The rule has said yes: a no from a snapshot or from presence data may be a mistake.
            report(logger, f"a join of {asked!r} failed", error, no=logging.WARNING)
            code = code_of(error)
            wait = RETRY_SECONDS if code.retry else None
            effects = session.refused(effect.ref, asked, code, message=detail_of(error), retry_after=wait)
        self._carry_out(effects)

    async def _join(self, effect: Admit, topic: Topic, begun: int) -> bool:
        """Subscribe; ``False``: the rule has to be asked again, as something has been ordered since ``begun``."""
        checked, recent = self._loop.time(), self._service.revocation.recent
        slow, overtaken = topic.declared.slow, False
        if slow.conflates:
            self._sink.report_blocking()

        def announce(payload: JoinedPayload) -> bool:
            nonlocal overtaken
            overtaken = recent.concern(self.owner, topic.name, topic.declared.route.text, begun)
            if overtaken:
                return False
            if settings.DEBUG:
                payload = msgspec.structs.replace(payload, events=tuple(topic.declared.events))
            self._carry_out(self._session.joined(effect.ref, effect.topic, topic.name, payload))
            return self._session.has_joined(effect.topic)

        subscription = await self._hub.join(
            topic.name,
            self,
            announce,
            durable=topic.declared.durable,
            slow=slow,
            since=effect.since,
            snapshot=snapshot_of(self._service.runtime, topic, self.host),
            attending=await attending(self._service.runtime.threads, topic, self.caller),
        )
        if subscription is not None:
            self._places[topic.name] = Place(topic, subscription, checked)
        return not overtaken

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _perform(self, effect: Perform) -> None:
        place, now = self._places[self._session.canonical(effect.topic)], self._loop.time()
        try:
            arguments = self._codec.payload(effect.payload)
            request = self._service.calls.request(
                place.topic,
                self.caller,
                effect.name,
                effect.key,
                arguments,
                now=now,
                recheck=now - place.checked >= self._service.policy.recheck_seconds,
                place=place,
            )
        except (BadMessage, CallFailed) as error:
            bad = CallFailed.of(error.code, detail=error.detail) if isinstance(error, BadMessage) else error
            self._carry_out(self._session.failed(effect.ref, place.topic.name, bad.payload))
            return
        self._service.calls.perform(request, partial(self._answered, effect.ref, place, request.recheck, now))

    def _answered(
        self, ref: int | None, place: Place, rechecked: bool, now: float, outcome: bytes | CallFailed
    ) -> None:
        session, topic = self._session, place.topic.name
        if isinstance(outcome, CallFailed):
            self._carry_out(session.failed(ref, topic, outcome.payload))
            if outcome.expelled and self.is_at(place):
                self.evict(topic, codes.FORBIDDEN)
            return
        if rechecked and place.checked != NOT_TRUSTED:  # else something was ordered since it was asked
            place.checked = now
        self._carry_out(session.performed(ref, outcome))

    def __repr__(self) -> str:
        return f"<Connection {self._session.id} of {self.owner}>"
