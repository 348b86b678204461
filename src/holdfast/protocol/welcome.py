"""The welcome that opens a connection."""

from . import frames
from .effects import Send
from .limits import Limits


def welcome(id: str, user: str | None, limits: Limits) -> Send:
    """Return the effect that welcomes the client of the connection ``id``."""
    accepted = frames.LimitsPayload(
        message_bytes=limits.message_bytes, topics=limits.topics, calls=limits.calls
    )
    payload = frames.WelcomePayload(session=id, user=user, heartbeat=limits.heartbeat, limits=accepted)
    return Send(frames.WelcomeFrame(payload=payload))
