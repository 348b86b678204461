"""Effects: what a :class:`~holdfast.protocol.server_protocol.ServerProtocol` asks its driver to do."""

import msgspec

from .codes import Code
from .frames import Outbound
from .positions import Position


class Effect(msgspec.Struct, frozen=True):
    """Base class of all effects."""


class Send(Effect, frozen=True):
    """Write this frame."""

    frame: Outbound


class Probe(Effect, frozen=True):
    """Ask the client for a sign of life: by a ping of the transport if it reports the answer, otherwise by this frame."""

    frame: Outbound


class Authenticate(Effect, frozen=True):
    """Find the token's user, then call ``authenticated`` or ``not_authenticated``."""

    token: str
    ref: int | None


class Admit(Effect, frozen=True):
    """Decide on a join, then call ``joined`` or ``refused``."""

    ref: int
    topic: str
    since: Position | None


class Release(Effect, frozen=True):
    """End the subscription to a topic, given by its canonical name."""

    topic: str


class Perform(Effect, frozen=True):
    """Run an action of a joined topic, then call ``performed`` or ``failed``."""

    ref: int | None
    topic: str
    name: str
    key: str | None
    payload: bytes


class Curb(Effect, frozen=True):
    """Base of what follows when a client exceeds its rates."""


class Limited(Curb, frozen=True):
    """Note that a message was beyond a limit. ``what`` is ``"messages"``, ``"joins"``, ``"topics"`` or ``"calls"``, and
    ``retry_after`` the seconds until one is within it, if that is known."""

    what: str
    retry_after: float | None = None


class SlowDown(Curb, frozen=True):
    """Read nothing from the client for so many seconds."""

    seconds: float


class Hangup(Effect, frozen=True):
    """Close the connection with this code, after everything sent before."""

    code: Code
