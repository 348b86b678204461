"""News: what the client's side of the protocol hands to the application."""

import msgspec

from holdfast.protocol import frames

from .errors import ClientError


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A topic is joined, for the first time or again."""

    topic: str
    payload: frames.JoinedPayload


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """An event."""

    topic: str
    frame: frames.EventFrame


class StreamMoved(msgspec.Struct, frozen=True, kw_only=True):
    """A stream goes on after a place where events may be missing. ``reason`` is that of the ``reset``, or ``"lost"`` when a join did
    not go on where the client was."""

    topic: str
    reason: str


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """The members of a topic have changed."""

    topic: str
    frame: frames.PresenceFrame


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A topic is over, because the server refused or ended it."""

    topic: str
    error: ClientError


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A call or a refresh has its answer: the result as JSON text, or an error. ``call`` is its number."""

    call: int
    result: bytes | None = None
    error: ClientError | None = None


News = Joined | Arrived | StreamMoved | Present | Ended | Answered
