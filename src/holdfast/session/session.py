"""One connection's side of the protocol, as a state machine.

It reads no clock and no socket, starts no task, and knows nothing of Django: messages and the time go in, effects come
out, and whoever drives it carries them out and reports back. ``tests/session`` and ``conformance/`` hold it to
``PROTOCOL.md``.

::

    FRESH ──first message──────────────▶ OPEN ──close──▶ CLOSED
      └──hello with a token──▶ AUTHENTICATING ──▲   (messages that come meanwhile wait)
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from holdfast.protocol import codes, frames
from holdfast.protocol.codec import BadMessage, Codec
from holdfast.protocol.codes import Code
from holdfast.protocol.frames import ErrorPayload, raw_json

from .bucket import Bucket
from .effects import Admit, Authenticate, Effect, Hangup, Perform, Probe, Release, Send
from .errors import error_reply

FLOOD = 100
"""So many more messages that were bad or too fast than good ones, and a client is not going to better itself."""

QUIET_HEARTBEATS = 1.5
"""Heartbeats of silence after which the server pings the client, as hidden tabs need (PROTOCOL.md, section 2.8)."""

RETRY_SECONDS = 1.0
"""Seconds that a client is asked to wait before it tries again what was unavailable."""

SILENT_HEARTBEATS = 2.5
"""Heartbeats of silence after which the server closes the connection (PROTOCOL.md, section 2.8)."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may do. ``heartbeat`` is in seconds; of messages ``burst`` may come at once."""

    message_bytes: int = 65536
    topics: int = 100
    calls: int = 32
    messages_per_second: float = 50.0
    burst: float = 100.0
    heartbeat: float = 25.0


class Phase(Enum):
    FRESH = "fresh"
    AUTHENTICATING = "authenticating"
    OPEN = "open"
    CLOSED = "closed"


MOVES = 32
"""Joins and leaves of one topic that wait for its join to be decided."""


NO_ALIASES: Mapping[str, str] = MappingProxyType({})
"""What every connection has most of the time; a dict of its own would weigh 80 bytes."""


class Membership(msgspec.Struct):
    """Of one topic. What the client asks while the join is not decided waits for that, and keeps its order."""

    joined: bool = False
    waiting: tuple["frames.Join | frames.Leave", ...] = ()

    @property
    def will_be_left(self) -> bool:
        return bool(self.waiting) and isinstance(self.waiting[-1], frames.Leave)


class Session:
    """The state of one connection. Every method returns the effects to be carried out, in order."""

    __slots__ = (
        "_bucket",
        "_by_alias",
        "_codec",
        "_flood",
        "_limits",
        "_memberships",
        "_waiting",
        "calls",
        "client",
        "heard",
        "id",
        "phase",
        "user",
    )

    def __init__(self, *, id: str, user: str | None, codec: Codec, limits: Limits, now: float) -> None:
        self.id = id
        self.user = user
        self.client = id
        self.phase = Phase.FRESH
        self.heard = now
        self._codec = codec
        self._limits = limits
        self._bucket = Bucket(limits.burst, limits.messages_per_second, now)
        self._flood = 0
        self.calls = 0
        self._memberships: dict[str, Membership] = {}  # by the name that was asked for
        self._by_alias = NO_ALIASES  # canonical name -> the one that was asked for, where they differ
        self._waiting: tuple[frames.Inbound | Send, ...] = ()

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, data: str | bytes, now: float) -> list[Effect]:
        """A message has arrived."""
        if self.phase is Phase.CLOSED:
            return []
        self.heard = now
        wait = self._bucket.take(now)
        try:
            frame: frames.Inbound | Send = self._decode(data)
        except BadMessage as bad:
            frame = error_reply(bad.code, ref=bad.ref, message=bad.detail)
        else:
            if wait:
                ref, topic = getattr(frame, "ref", None), getattr(frame, "topic", None)
                frame = error_reply(codes.RATE_LIMITED, ref=ref, topic=topic, retry_after=wait)
        self._flood = self._flood + 1 if isinstance(frame, Send) else max(self._flood - 1, 0)
        if self._flood > FLOOD:
            return self.hang_up(codes.FLOODING, after=self._limits.heartbeat)
        if self.phase is Phase.AUTHENTICATING:
            self._waiting = (*self._waiting, frame)  # no more than the bucket and the flood limit let through
            return []
        if self.phase is Phase.FRESH and isinstance(frame, frames.Hello):
            return self._hello(frame)
        return self._greeted(self._handle(frame))

    def _decode(self, data: str | bytes) -> frames.Inbound:
        limit = self._limits.message_bytes
        if len(data) > limit or (isinstance(data, str) and not data.isascii() and _size(data) > limit):
            raise BadMessage(codes.TOO_LARGE, f"the limit is {limit} bytes")
        return self._codec.decode(data)

    def _handle(self, frame: frames.Inbound | Send) -> list[Effect]:
        match frame:
            case Send():
                return [frame]
            case frames.Call():
                return self._call(frame)
            case frames.Ping():
                return [Send(frames.Pong())]
            case frames.Join():
                return self._join(frame)
            case frames.Leave():
                return self._leave(frame)
            case frames.Refresh():
                return [Authenticate(frame.payload.token, frame.ref)]
            case frames.Hello():
                return [error_reply(codes.UNEXPECTED_HELLO)]

    # ── hello, authentication ────────────────────────────────────────────────────────────────────────────────────────

    def _hello(self, frame: frames.Hello) -> list[Effect]:
        self.client = frame.payload.client or self.id
        if frame.payload.token is None:
            return self._greeted([])
        self.phase = Phase.AUTHENTICATING
        return [Authenticate(frame.payload.token, None)]

    def _greeted(self, effects: list[Effect]) -> list[Effect]:
        """The welcome comes before the first answer."""
        if self.phase is not Phase.FRESH:
            return effects
        self.phase = Phase.OPEN
        limits = self._limits
        accepted = frames.LimitsPayload(
            message_bytes=limits.message_bytes, topics=limits.topics, calls=limits.calls
        )
        payload = frames.WelcomePayload(
            session=self.id, user=self.user, heartbeat=limits.heartbeat, limits=accepted
        )
        return [Send(frames.Welcome(payload=payload)), *effects]

    def authenticated(self, user: str, ref: int | None) -> list[Effect]:
        """A token belongs to ``user``: the hello's (``ref`` is ``None``) or a refresh's."""
        if self.phase is Phase.CLOSED:
            return []
        if ref is not None:
            if user != self.user:
                return self.hang_up(codes.UNAUTHENTICATED)
            return [Send(frames.Result(ref=ref, payload=raw_json({"user": user})))]
        self.user = user
        self.phase = Phase.FRESH
        waiting, self._waiting = self._waiting, ()
        return self._greeted([effect for frame in waiting for effect in self._handle(frame)])

    def not_authenticated(self, ref: int | None, code: Code = codes.INVALID_TOKEN) -> list[Effect]:
        """A token identifies no user, or (``code`` is ``UNAVAILABLE``) the server cannot say whose it is. With a hello that is
        the end of the connection, in the second case one to come back from; a refresh leaves things as they are."""
        if self.phase is Phase.CLOSED:
            return []
        if ref is None:
            return self.hang_up(code if code.close else codes.UNAUTHENTICATED)
        return [error_reply(code, ref=ref, retry_after=RETRY_SECONDS if code.retry else None)]

    # ── topics ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _join(self, frame: frames.Join) -> list[Effect]:
        asked = self._by_alias.get(frame.topic, frame.topic)
        membership = self._memberships.get(asked)
        if membership is not None:
            if membership.will_be_left:
                return self._wait(membership, frame)
            return [error_reply(codes.ALREADY_JOINED, ref=frame.ref, topic=self.canonical(asked))]
        if len(self._memberships) >= self._limits.topics:
            return [error_reply(codes.TOO_MANY_TOPICS, ref=frame.ref, topic=frame.topic)]
        self._memberships[frame.topic] = Membership()
        return [Admit(frame.ref, frame.topic, frame.payload.since)]

    def _leave(self, frame: frames.Leave) -> list[Effect]:
        asked = self._by_alias.get(frame.topic, frame.topic)
        membership = self._memberships.get(asked)
        if membership is None or membership.will_be_left:
            return [error_reply(codes.NOT_JOINED, ref=frame.ref, topic=frame.topic)]
        if not membership.joined:
            return self._wait(membership, frame)
        del self._memberships[asked]
        canonical = self._drop_alias(asked)
        return [Release(canonical), Send(frames.Left(topic=canonical, ref=frame.ref))]

    def _wait(self, membership: Membership, frame: frames.Join | frames.Leave) -> list[Effect]:
        if len(membership.waiting) >= MOVES:
            return [error_reply(codes.RATE_LIMITED, ref=frame.ref, topic=frame.topic, retry_after=1.0)]
        membership.waiting = (*membership.waiting, frame)
        return []

    def _go_on(self, waiting: tuple[frames.Join | frames.Leave, ...]) -> list[Effect]:
        """The join before them is decided."""
        effects: list[Effect] = []
        for place, frame in enumerate(waiting, 1):
            effects += self._handle(frame)
            if effects and isinstance(effects[-1], Admit):
                self._memberships[frame.topic].waiting = waiting[place:]
                break
        return effects

    def admitted(self, asked: str, canonical: str) -> bool:
        """The name that was asked for stands for ``canonical``; say whether that is not joined by another name."""
        if canonical != asked:
            if canonical in self._memberships or canonical in self._by_alias:
                return False
            self._by_alias = {**self._by_alias, canonical: asked}
        elif canonical in self._by_alias:
            return False
        return True

    def joined(self, ref: int, asked: str, canonical: str, payload: frames.JoinedPayload) -> list[Effect]:
        """A join was let in; the subscription begins when these effects are carried out."""
        if self.phase is Phase.CLOSED:
            return []
        membership = self._memberships[asked]
        membership.joined = True
        waiting, membership.waiting = membership.waiting, ()
        return [Send(frames.Joined(ref=ref, topic=canonical, payload=payload)), *self._go_on(waiting)]

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
        """A join was not let in; ``topic`` is what the answer names, if not the name that was asked for. ``message`` is added
        to the code's own."""
        if self.phase is Phase.CLOSED:
            return []
        membership = self._memberships.pop(asked)
        self._drop_alias(asked)
        refusal = error_reply(code, ref=ref, topic=topic or asked, message=message, retry_after=retry_after)
        return [refusal, *self._go_on(membership.waiting)]

    def expelled(self, canonical: str, code: Code, reason: str | None = None) -> list[Effect]:
        """The right to a joined topic has ended."""
        asked = self._by_alias.get(canonical, canonical)
        if self.phase is Phase.CLOSED or not self.has_joined(asked):
            return []
        del self._memberships[asked]
        self._drop_alias(asked)
        payload = ErrorPayload(code=code.name, message=code.message, reason=reason)
        return [Release(canonical), Send(frames.Left(topic=canonical, payload=payload))]

    def _drop_alias(self, asked: str) -> str:
        """Forget the canonical name that an asked one stood for, and return it."""
        for canonical, alias in self._by_alias.items():
            if alias == asked:
                rest = {name: other for name, other in self._by_alias.items() if name != canonical}
                self._by_alias = rest or NO_ALIASES
                return canonical
        return asked

    def has_joined(self, asked: str) -> bool:
        """Is it joined now? Asked right after :meth:`joined`, this also says whether to subscribe."""
        membership = self._memberships.get(asked)
        return membership is not None and membership.joined

    def canonical(self, asked: str) -> str:
        """The canonical name of a topic that was joined by this name."""
        if not self._by_alias:
            return asked
        return next((name for name, alias in self._by_alias.items() if alias == asked), asked)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, frame: frames.Call) -> list[Effect]:
        asked = frame.topic
        if self._by_alias and asked not in self._memberships:
            asked = self._by_alias.get(asked, asked)
        if not self.has_joined(asked):
            return self._not_called(frame, codes.NOT_JOINED)
        if self.calls >= self._limits.calls:
            return self._not_called(frame, codes.TOO_MANY_CALLS, retry_after=1.0)
        self.calls += 1
        return [Perform(frame.ref, asked, frame.name, frame.key, bytes(frame.payload))]

    def _not_called(self, frame: frames.Call, code: Code, retry_after: float | None = None) -> list[Effect]:
        if frame.ref is None:
            return []
        return [error_reply(code, ref=frame.ref, topic=frame.topic, retry_after=retry_after)]

    def performed(self, ref: int | None, result: bytes) -> list[Effect]:
        """A call was carried out; ``result`` is JSON text."""
        self.calls -= 1
        if ref is None or self.phase is Phase.CLOSED:
            return []
        return [Send(frames.Result(ref=ref, payload=msgspec.Raw(result)))]

    def failed(self, ref: int | None, topic: str, payload: ErrorPayload) -> list[Effect]:
        """A call was not carried out."""
        self.calls -= 1
        if ref is None or self.phase is Phase.CLOSED:
            return []
        return [Send(frames.Error(ref=ref, topic=topic, payload=payload))]

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def show_life(self, now: float) -> None:
        """The transport has seen a sign of life that is no message. A client that has said nothing yet still has to."""
        if self.phase is Phase.OPEN:
            self.heard = now

    def next_check(self, now: float) -> float:
        """When the client's silence, if it lasts, calls for something to be done."""
        quiet = self.heard + QUIET_HEARTBEATS * self._limits.heartbeat
        return quiet if now < quiet else self._silent_until()

    def _silent_until(self) -> float:
        return self.heard + SILENT_HEARTBEATS * self._limits.heartbeat

    def check(self, now: float) -> list[Effect]:
        """Time has passed."""
        if self.phase is Phase.CLOSED:
            return []
        if now >= self._silent_until():
            return self.hang_up(codes.HEARTBEAT_MISSED)
        if self.phase is Phase.OPEN and now >= self.heard + QUIET_HEARTBEATS * self._limits.heartbeat:
            return [Probe(frames.Ping())]
        return []

    def hang_up(self, code: Code, after: float | None = None, reason: str | None = None) -> list[Effect]:
        """End the connection from this side. A client that is still being authenticated is not welcomed before."""
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
        return [*greeting, Send(frames.Goodbye(payload=goodbye)), Hangup(code)]

    def closed(self) -> None:
        """The connection is gone."""
        self.phase = Phase.CLOSED


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
