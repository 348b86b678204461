"""What a session asks to be done. It does nothing itself."""

import msgspec

from holdfast.protocol.codes import Code
from holdfast.protocol.frames import Outbound
from holdfast.protocol.positions import Position


class Effect(msgspec.Struct, frozen=True):
    """What all effects share."""


class Send(Effect, frozen=True):
    """Write this frame."""

    frame: Outbound


class Probe(Effect, frozen=True):
    """Ask the client for a sign of life: a ping of the transport where its answer is seen, else this frame."""

    frame: Outbound


class Authenticate(Effect, frozen=True):
    """Find the token's user, and answer with :meth:`Session.authenticated` or :meth:`Session.not_authenticated`."""

    token: str
    ref: int | None


class Admit(Effect, frozen=True):
    """Decide on a join, and answer with :meth:`Session.joined` or :meth:`Session.refused`."""

    ref: int
    topic: str
    since: Position | None


class Release(Effect, frozen=True):
    """End the subscription to a topic, given by its canonical name."""

    topic: str


class Perform(Effect, frozen=True):
    """Run an action of a joined topic, and answer with :meth:`Session.performed` or :meth:`Session.failed`."""

    ref: int | None
    topic: str
    name: str
    key: str | None
    payload: bytes


class Hangup(Effect, frozen=True):
    """Close the connection with this code, after everything that was sent."""

    code: Code
