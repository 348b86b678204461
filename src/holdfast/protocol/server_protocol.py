"""The server's side of the protocol, as a state machine without I/O.

:class:`ServerProtocol` is the state of one connection. It reads no clock and no socket, starts no task and knows nothing of
Django. The driver passes it messages, decisions and the time, and carries out the effects that it returns. The tests in
``tests/protocol`` and ``conformance/`` hold it to ``PROTOCOL.md``.

::

    FRESH ──first message, or start()──▶ OPEN ──close──▶ CLOSED
      └──hello with a token──▶ AUTHENTICATING ──▲   (messages that arrive in this phase wait for its end)
"""

from collections.abc import Iterable
from enum import Enum

import msgspec

from . import codes, frames
from .codec import BadMessage, Codec, size_of
from .codes import Code
from .effects import Admit, Authenticate, Effect, Hangup, Limited, Perform, Probe, Release, Send, SlowDown
from .errors import error_reply, rate_limited
from .frames import ErrorPayload, raw_json
from .limits import Limits
from .meter import Conduct, Consequence, pace_of
from .topic_states import UNDECIDED, TopicState, TopicStates
from .waiting import Waiting
from .welcome import welcome

QUIET_HEARTBEATS = 1.5
"""Heartbeats of silence after which the server pings the client, as hidden tabs need (PROTOCOL.md, section 2.8)."""

SILENT_HEARTBEATS = 2.5
"""Heartbeats of silence after which the server closes the connection (PROTOCOL.md, section 2.8)."""

RETRY_SECONDS = 1.0
"""Seconds that a client is asked to wait before it retries something that was unavailable."""

PENDING_PER_TOPIC = 32
"""Joins and leaves of one topic that may wait until an earlier join of it is decided."""


class Phase(Enum):
    FRESH = "fresh"
    AUTHENTICATING = "authenticating"
    OPEN = "open"
    CLOSED = "closed"


class ServerProtocol:
    """The state of one connection. Methods that return effects return them in the order in which they are to be carried out.

    ``duplex`` says whether the transport brings the client's messages. If it does, the client's heartbeats are expected on
    it: a client that stays silent is pinged and then closed. If it does not, only the server can keep the connection
    alive: it sends an unrequested ``pong`` every heartbeat, and :meth:`start` replaces the first message.
    """

    __slots__ = (
        "_codec",
        "_keepalive_at",
        "_limits",
        "_refreshing",
        "_topics",
        "_waiting",
        "calls",
        "client",
        "conduct",
        "heard",
        "id",
        "late_calls",
        "phase",
        "received",
        "user",
    )

    def __init__(
        self, *, id: str, user: str | None, codec: Codec, limits: Limits, now: float, duplex: bool = True
    ) -> None:
        self.id = id
        self.user = user
        self.client = id
        self.phase = Phase.FRESH
        self.heard = now
        self.received = 0  # bytes in messages
        self._codec = codec
        self._limits = limits
        self.conduct = Conduct(pace_of(limits))
        self._keepalive_at = None if duplex else now + limits.heartbeat
        self.calls = 0
        self.late_calls = 0
        self._topics = TopicStates()
        self._waiting: Waiting | None = None
        self._refreshing = False

    # ── messages of the client ────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, data: str | bytes | None, now: float) -> list[Effect]:
        """Handle a message that has arrived at ``now``. ``None``: it was too long, and the transport has dropped it."""
        if self.phase is Phase.CLOSED:
            return []
        self.heard = now
        limit = self._limits.message_bytes
        size = limit + 1 if data is None else size_of(data)
        self.received += size
        wait = self.conduct.message(size, now)
        try:
            if data is None or size > limit:
                raise BadMessage(codes.TOO_LARGE, f"the limit is {limit} bytes")
            frame: frames.Inbound | Send = self._codec.decode(data)
        except BadMessage as bad:
            frame = error_reply(bad.code, ref=bad.ref, message=bad.detail)
        else:
            if wait:
                frame = rate_limited(frame, wait)
        if isinstance(frame, Send):
            return self._misbehaved(frame, wait)
        if self.phase is Phase.AUTHENTICATING:
            return self._put_off(frame, size)
        self.conduct.good()
        if self.phase is Phase.FRESH and isinstance(frame, frames.HelloFrame):
            return self._hello(frame)
        return self._greeted(self._handle(frame))

    def _put_off(self, frame: frames.Inbound, size: int) -> list[Effect]:
        """Let a message wait until the token is verified."""
        if not self._waits().add(frame, size):
            return self._misbehaved(rate_limited(frame, RETRY_SECONDS), RETRY_SECONDS)
        self.conduct.good()
        return []

    def _waits(self) -> Waiting:
        """Return the messages that wait. The flood limit bounds the answers among them."""
        self._waiting = self._waiting or Waiting(self._limits.message_bytes)
        return self._waiting

    def _misbehaved(self, refusal: Send, wait: float) -> list[Effect]:
        """Refuse a message; ``wait`` is not 0 if it was beyond a rate. A client that goes on is slowed, and closed if that does not
        help."""
        noted: list[Effect] = [Limited("messages", wait)] if wait else []
        step = self.conduct.bad()
        if step is Consequence.CLOSE:
            return [*noted, *self.hang_up(codes.FLOODING, after=self._limits.heartbeat)]
        if step is Consequence.SLOW:
            noted.append(SlowDown(self.conduct.pause))
        if self.phase is not Phase.AUTHENTICATING:
            return [*self._greeted([refusal]), *noted]
        self._waits().add(refusal, 0)
        return noted

    def _handle(self, frame: frames.Inbound | Send) -> list[Effect]:
        match frame:
            case Send():
                return [frame]
            case frames.CallFrame():
                return self._call(frame)
            case frames.PingFrame():
                return [Send(frames.PongFrame())]
            case frames.JoinFrame():
                return self._join(frame)
            case frames.LeaveFrame():
                return self._leave(frame)
            case frames.RefreshFrame():
                return self._refresh(frame)
            case frames.HelloFrame():
                return [error_reply(codes.UNEXPECTED_HELLO)]

    # ── start, hello, authentication ──────────────────────────────────────────────────────────────────────────────────

    def start(
        self, hello: frames.HelloFrame | None = None, joins: Iterable[frames.JoinFrame] = ()
    ) -> list[Effect]:
        """Open a connection whose client cannot speak first, with what the request that opened it carried.

        The welcome comes first, then the answers to ``joins`` in their order. If ``hello`` has a token, both wait until it is
        verified. Only the rate of joins is charged: the size of one request bounds the rest.
        """
        if self.phase is Phase.CLOSED:
            return []
        if self.phase is not Phase.FRESH:
            raise RuntimeError(f"start() opens a connection that is fresh; this one is {self.phase.value}")
        effects = self._greeted([]) if hello is None else self._hello(hello)
        if hello is not None and hello.payload.token is not None:
            self._waiting = Waiting(self._limits.message_bytes, joins)
            return effects
        return effects + [effect for join in joins for effect in self._handle(join)]

    def _hello(self, frame: frames.HelloFrame) -> list[Effect]:
        self.client = frame.payload.client or self.id
        if frame.payload.token is None:
            return self._greeted([])
        self.phase = Phase.AUTHENTICATING
        return [Authenticate(frame.payload.token, None)]

    def _refresh(self, frame: frames.RefreshFrame) -> list[Effect]:
        """Verify one token at a time: each verification is a task, and may ask a database."""
        if self._refreshing:
            return [rate_limited(frame, RETRY_SECONDS)]
        self._refreshing = True
        return [Authenticate(frame.payload.token, frame.ref)]

    def _greeted(self, effects: list[Effect]) -> list[Effect]:
        """Put the welcome before the first answer."""
        if self.phase is not Phase.FRESH:
            return effects
        self.phase = Phase.OPEN
        return [welcome(self.id, self.user, self._limits), *effects]

    def authenticated(self, user: str, ref: int | None) -> list[Effect]:
        """Accept a token of ``user``: the token of the hello if ``ref`` is ``None``, otherwise that of a refresh."""
        self._refreshing = self._refreshing and ref is None
        if self.phase is Phase.CLOSED:
            return []
        if ref is not None:
            if user != self.user:
                return self.hang_up(codes.UNAUTHENTICATED)
            return [Send(frames.ResultFrame(ref=ref, payload=raw_json({"user": user})))]
        self.user = user
        self.phase = Phase.FRESH
        waiting, self._waiting = self._waiting, None
        return self._greeted([effect for frame in waiting or () for effect in self._handle(frame)])

    def not_authenticated(self, ref: int | None, code: Code = codes.INVALID_TOKEN) -> list[Effect]:
        """Reject a token that identifies no user, has expired (``TOKEN_EXPIRED``), or that the server cannot check now
        (``UNAVAILABLE``).

        After a hello this ends the connection; with the last two codes the client may reconnect. After a refresh nothing changes.
        """
        self._refreshing = self._refreshing and ref is None
        if self.phase is Phase.CLOSED:
            return []
        if ref is None:
            return self.hang_up(code if code.close else codes.UNAUTHENTICATED)
        if code is codes.TOKEN_EXPIRED:  # the same token will not do later either
            code = codes.INVALID_TOKEN
        return [error_reply(code, ref=ref, retry_after=RETRY_SECONDS if code.retry else None)]

    # ── topics ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _join(self, frame: frames.JoinFrame) -> list[Effect]:
        asked = self._topics.asked(frame.topic)
        state = self._topics.get(asked)
        if state is not None:
            if state.will_be_left:
                return self._wait(asked, state, frame)
            return [error_reply(codes.ALREADY_JOINED, ref=frame.ref, topic=self.canonical(asked))]
        if len(self._topics) >= self._limits.topics:
            return [error_reply(codes.TOO_MANY_TOPICS, ref=frame.ref, topic=frame.topic), Limited("topics")]
        if wait := self.conduct.join(self.heard):
            refusal = error_reply(codes.RATE_LIMITED, ref=frame.ref, topic=frame.topic, retry_after=wait)
            return [refusal, Limited("joins", wait)]
        self._topics[frame.topic] = UNDECIDED
        return [Admit(frame.ref, frame.topic, frame.payload.since)]

    def _leave(self, frame: frames.LeaveFrame) -> list[Effect]:
        asked = self._topics.asked(frame.topic)
        state = self._topics.get(asked)
        if state is None or state.will_be_left:
            return [error_reply(codes.NOT_JOINED, ref=frame.ref, topic=frame.topic)]
        if not state.joined:
            return self._wait(asked, state, frame)
        canonical = self._topics.remove(asked)
        return [Release(canonical), Send(frames.LeftFrame(topic=canonical, ref=frame.ref))]

    def _wait(
        self, asked: str, state: TopicState, frame: frames.JoinFrame | frames.LeaveFrame
    ) -> list[Effect]:
        if len(state.waiting) >= PENDING_PER_TOPIC:
            return [error_reply(codes.RATE_LIMITED, ref=frame.ref, topic=frame.topic, retry_after=1.0)]
        self._topics[asked] = msgspec.structs.replace(state, waiting=(*state.waiting, frame))
        return []

    def _go_on(self, waiting: tuple[frames.JoinFrame | frames.LeaveFrame, ...]) -> list[Effect]:
        """Handle the joins and leaves that waited for a join, now that it is decided."""
        effects: list[Effect] = []
        for handled, frame in enumerate(waiting, 1):
            effects += self._handle(frame)
            if effects and isinstance(effects[-1], Admit):
                self._topics[frame.topic] = TopicState(waiting=waiting[handled:])
                break
        return effects

    def admitted(self, asked: str, canonical: str) -> bool:
        """Note that ``asked`` means ``canonical``. Return ``False`` if that topic is already joined by another name."""
        return self._topics.resolve(asked, canonical)

    def joined(self, ref: int, asked: str, canonical: str, payload: frames.JoinedPayload) -> list[Effect]:
        """Accept a join. The subscription begins when these effects are carried out."""
        if self.phase is Phase.CLOSED:
            return []
        waiting = self._topics.joined(asked, canonical)
        return [Send(frames.JoinedFrame(ref=ref, topic=canonical, payload=payload)), *self._go_on(waiting)]

    def refused(
        self,
        ref: int,
        asked: str,
        code: Code,
        *,
        topic: str | None = None,
        message: str | None = None,
        retry_after: float | None = None,
    ) -> list[Effect]:
        """Refuse a join. The reply names ``topic``, or ``asked`` if that is ``None``. ``message`` is added to the code's text."""
        if self.phase is Phase.CLOSED:
            return []
        state = self._topics[asked]
        self._topics.remove(asked)
        refusal = error_reply(code, ref=ref, topic=topic or asked, message=message, retry_after=retry_after)
        return [refusal, *self._go_on(state.waiting)]

    def expelled(self, canonical: str, code: Code, reason: str | None = None) -> list[Effect]:
        """End the subscription to a joined topic from this side."""
        asked = self._topics.asked(canonical)
        if self.phase is Phase.CLOSED or not self._topics.has_joined(asked):
            return []
        self._topics.remove(asked)
        payload = ErrorPayload(code=code.name, message=code.message, reason=reason)
        return [Release(canonical), Send(frames.LeftFrame(topic=canonical, payload=payload))]

    def has_joined(self, asked: str) -> bool:
        """Whether the topic is joined now. After :meth:`joined` it may be left again already: a leave can have waited."""
        return self._topics.has_joined(asked)

    def canonical(self, asked: str) -> str:
        """Return the canonical name of a topic that was joined as ``asked``."""
        return self._topics.canonical(asked)

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, frame: frames.CallFrame) -> list[Effect]:
        asked = self._topics.asked(frame.topic)
        if not self._topics.has_joined(asked):
            return self._not_called(frame, codes.NOT_JOINED)
        if self.calls + self.late_calls >= self._limits.calls:
            return [*self._not_called(frame, codes.TOO_MANY_CALLS, retry_after=1.0), Limited("calls", 1.0)]
        self.calls += 1
        return [Perform(frame.ref, asked, frame.name, frame.key, bytes(frame.payload))]

    def _not_called(
        self, frame: frames.CallFrame, code: Code, retry_after: float | None = None
    ) -> list[Effect]:
        if frame.ref is None:
            return []
        return [error_reply(code, ref=frame.ref, topic=frame.topic, retry_after=retry_after)]

    def performed(self, ref: int | None, result: bytes) -> list[Effect]:
        """Answer a call that succeeded. ``result`` is JSON text."""
        self.calls -= 1
        if ref is None or self.phase is Phase.CLOSED:
            return []
        return [Send(frames.ResultFrame(ref=ref, payload=msgspec.Raw(result)))]

    def failed(
        self, ref: int | None, topic: str, payload: ErrorPayload, *, running: bool = False
    ) -> list[Effect]:
        """Answer a call that failed. If it is ``running`` all the same (a timeout), it counts until :meth:`late_call_ended`."""
        self.calls -= 1
        self.late_calls += running
        if ref is None or self.phase is Phase.CLOSED:
            return []
        return [Send(frames.ErrorFrame(ref=ref, topic=topic, payload=payload))]

    def late_call_ended(self) -> None:
        """Note that a call has ended which was answered before, because it took too long."""
        self.late_calls -= 1

    # ── heartbeats ────────────────────────────────────────────────────────────────────────────────────────────────────

    def show_life(self, now: float) -> None:
        """Note a sign of life that is no message, such as a pong frame. It does not replace the client's first message."""
        if self.phase is Phase.OPEN:
            self.heard = now

    def next_check(self, now: float) -> float:
        """Return when :meth:`check` is next due, if the client stays silent."""
        if self._keepalive_at is not None:
            return self._keepalive_at
        quiet, until = self.heard + QUIET_HEARTBEATS * self._limits.heartbeat, self._silent_until()
        # Also before the first message: the client sends it between two checks, and is then to be pinged in time.
        return min(quiet, until) if now < quiet else until

    def _silent_until(self) -> float:
        if self.phase is Phase.FRESH:
            return self.heard + min(self._limits.hello_seconds, SILENT_HEARTBEATS * self._limits.heartbeat)
        return self.heard + SILENT_HEARTBEATS * self._limits.heartbeat

    def check(self, now: float) -> list[Effect]:
        """Do what is due at ``now``: send a keepalive, or ping or close a client that has been silent."""
        if self.phase is Phase.CLOSED:
            return []
        if self._keepalive_at is not None:
            return self._keepalive(now)
        if now >= self._silent_until():
            return self.hang_up(codes.HEARTBEAT_MISSED)
        if self.phase is Phase.OPEN and now >= self.heard + QUIET_HEARTBEATS * self._limits.heartbeat:
            return [Probe(frames.PingFrame())]
        return []

    def _keepalive(self, now: float) -> list[Effect]:
        """A pong that answers no ping is the heartbeat of one direction, as in WebSocket (RFC 6455, section 5.5.3)."""
        if self._keepalive_at is None or now < self._keepalive_at:
            return []
        self._keepalive_at = now + self._limits.heartbeat
        return [Send(frames.PongFrame())] if self.phase is Phase.OPEN else []

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def hang_up(self, code: Code, after: float | None = None, reason: str | None = None) -> list[Effect]:
        """End the connection from this side. A client whose token is still being verified gets no welcome first."""
        if self.phase is Phase.CLOSED:
            return []
        greeting = () if self.phase is Phase.OPEN else self._greeted([])
        self.phase = Phase.CLOSED
        goodbye = frames.GoodbyePayload(
            code=code.name,
            reconnect=code.retry,
            after=None if after is None else round(after, 3),
            reason=reason,
        )
        return [*greeting, Send(frames.GoodbyeFrame(payload=goodbye)), Hangup(code)]

    def closed(self) -> None:
        """Note that the connection is gone."""
        self.phase = Phase.CLOSED
