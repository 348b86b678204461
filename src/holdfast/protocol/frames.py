"""All messages of the wire, version 1. ``PROTOCOL.md`` is the full text.

A message is an object with a ``type``; its content is the ``payload``. Unknown fields are ignored, so that newer peers can
add fields. An unknown ``type`` is answered with ``unknown_type``.
"""

from typing import Annotated, Any, Literal

import msgspec

from .positions import Epoch, Offset, Position, Stamp

Ref = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
TopicName = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
ClientId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
CallKey = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,100}\Z")]


class Frame(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", gc=False):
    """Base class of all messages."""


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base class of all payloads."""


# ── client to server ──────────────────────────────────────────────────────────────────────────────────────────────────


class HelloPayload(Payload, frozen=True, kw_only=True):
    client: ClientId | None = None
    token: Annotated[str, msgspec.Meta(max_length=8192)] | None = None


class HelloFrame(Frame, frozen=True, kw_only=True, tag="hello"):
    """The name and token of the client: optional, and only as the first message."""

    payload: HelloPayload = HelloPayload()


class JoinPayload(Payload, frozen=True, kw_only=True):
    since: Position | None = None


class JoinFrame(Frame, frozen=True, kw_only=True, tag="join"):
    """Subscribe to a topic, from a position if one is given, otherwise from now."""

    ref: Ref
    topic: TopicName
    payload: JoinPayload = JoinPayload()


class LeaveFrame(Frame, frozen=True, kw_only=True, tag="leave"):
    ref: Ref
    topic: TopicName


class CallFrame(Frame, frozen=True, kw_only=True, tag="call"):
    """Run an action of a joined topic. Without ``ref`` it gets no answer; with ``key`` it is carried out once."""

    topic: TopicName
    name: Name
    ref: Ref | None = None
    key: CallKey | None = None
    payload: msgspec.Raw = msgspec.Raw()


class RefreshPayload(Payload, frozen=True, kw_only=True):
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class RefreshFrame(Frame, frozen=True, kw_only=True, tag="refresh"):
    """A newer token for the same user."""

    ref: Ref
    payload: RefreshPayload


class PingFrame(Frame, frozen=True, kw_only=True, tag="ping"):
    """Sent by either side. A client answers a server's ``ping`` with any message, a server a client's with ``pong``."""


Inbound = HelloFrame | JoinFrame | LeaveFrame | CallFrame | RefreshFrame | PingFrame

# ── server to client ──────────────────────────────────────────────────────────────────────────────────────────────────


class LimitsPayload(Payload, frozen=True, kw_only=True):
    """The limits of this server: bytes per message, topics joined at once, calls running at once."""

    message_bytes: int
    topics: int
    calls: int


class WelcomePayload(Payload, frozen=True, kw_only=True):
    """``heartbeat`` is in seconds: a client that has been silent for that long sends a ping."""

    session: str
    user: str | None
    heartbeat: float
    limits: LimitsPayload


class WelcomeFrame(Frame, frozen=True, kw_only=True, tag="welcome"):
    payload: WelcomePayload


class JoinedPayload(Payload, frozen=True, kw_only=True):
    """The answer to a join. ``epoch`` and ``offset`` (the log's head) are there on durable topics, ``recovered`` if ``since`` was
    sent.

    ``stamp`` belongs to the entry at ``offset``, and is 0 if it is not known.

    On topics with presence, ``members`` is a list of :class:`MemberPayload`; if they are too many, ``count`` is their number. Neither
    is there while they are not known; a :class:`PresenceFrame` then follows.

    ``events`` are the names that the topic declares, from a server under ``DEBUG`` only: for a client's warnings.
    """

    epoch: Epoch | None = None
    offset: Offset | None = None
    stamp: Stamp = 0
    recovered: bool | None = None
    snapshot: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    members: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    count: int | None = None
    events: tuple[str, ...] | None = None


class JoinedFrame(Frame, frozen=True, kw_only=True, tag="joined"):
    ref: Ref
    topic: TopicName
    payload: JoinedPayload


class ErrorPayload(Payload, frozen=True, kw_only=True):
    """``code`` is a name of the catalogue; ``reason`` is the application's own text, with ``refused`` and ``evicted``.

    ``errors`` lists what is wrong with each field of a call's arguments, with ``invalid_payload``; problems of no single field
    are under ``__all__``.
    """

    code: str
    message: str
    reason: str | None = None
    retry_after: float | None = None
    errors: dict[str, list[str]] | None = None


class LeftFrame(Frame, frozen=True, kw_only=True, tag="left"):
    """The answer to a leave (``ref``), or the end of a subscription by the server (``payload``)."""

    topic: TopicName
    ref: Ref | None = None
    payload: ErrorPayload | None = None


class EventFrame(Frame, frozen=True, kw_only=True, tag="event"):
    """An event. ``offset`` and ``stamp`` are there if the event is in the log."""

    topic: TopicName
    name: Name
    offset: Offset | None = None
    stamp: Stamp = 0
    payload: msgspec.Raw


class ResultFrame(Frame, frozen=True, kw_only=True, tag="result"):
    ref: Ref
    payload: msgspec.Raw


class ErrorFrame(Frame, frozen=True, kw_only=True, tag="error"):
    """The answer to a message that failed; ``ref`` is its reference if it could be read."""

    payload: ErrorPayload
    ref: Ref | None = None
    topic: TopicName | None = None


class ResetPayload(Payload, frozen=True, kw_only=True):
    """The stream continues after (``epoch``, ``offset``); earlier events may have been missed."""

    reason: Literal["trimmed", "epoch", "interrupted"]
    epoch: Epoch | None = None
    offset: Offset | None = None
    stamp: Stamp = 0


def position_of(payload: JoinedPayload | ResetPayload) -> Position | None:
    """Return the position that a message names; ``None`` on a topic without a log."""
    if payload.epoch is None or payload.offset is None:
        return None
    return Position(epoch=payload.epoch, offset=payload.offset, stamp=payload.stamp)


class ResetFrame(Frame, frozen=True, kw_only=True, tag="reset"):
    topic: TopicName
    payload: ResetPayload


class MemberPayload(Payload, frozen=True, kw_only=True):
    """A member of a topic. ``since`` is in seconds since 1970; ``meta`` is what the application reveals of the member."""

    id: str
    since: int
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class PresencePayload(Payload, frozen=True, kw_only=True):
    """The content of a :class:`PresenceFrame`, in one of three forms.

    Either a difference: members who ``joined`` or whose data changed, and the ids of those who ``left``. Or all ``members``,
    which replace those known before. Or only their ``count``.
    """

    joined: tuple[MemberPayload, ...] = ()
    left: tuple[str, ...] = ()
    members: tuple[MemberPayload, ...] | None = None
    count: int | None = None


class PresenceFrame(Frame, frozen=True, kw_only=True, tag="presence"):
    """A change of the members. ``payload`` is a :class:`PresencePayload`, as the same text for all clients."""

    topic: TopicName
    payload: msgspec.Raw


class GoodbyePayload(Payload, frozen=True, kw_only=True):
    """Sent before the server closes. ``after`` is how many seconds to wait before reconnecting; ``reason`` is the application's
    own text, with ``disconnected`` only."""

    code: str
    reconnect: bool
    after: float | None = None
    reason: str | None = None


class GoodbyeFrame(Frame, frozen=True, kw_only=True, tag="goodbye"):
    payload: GoodbyePayload


class PongFrame(Frame, frozen=True, kw_only=True, tag="pong"):
    pass


Outbound = (
    WelcomeFrame
    | JoinedFrame
    | LeftFrame
    | EventFrame
    | ResultFrame
    | ErrorFrame
    | ResetFrame
    | PresenceFrame
    | GoodbyeFrame
    | PingFrame
    | PongFrame
)


def raw_json(value: Any) -> msgspec.Raw:
    """Return the JSON text of a value, for use in a frame."""
    return msgspec.Raw(msgspec.json.encode(value))
