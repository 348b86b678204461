"""Error replies to a client's messages."""

from . import codes, frames
from .codes import Code
from .effects import Send
from .frames import ErrorPayload


def error_reply(
    code: Code,
    *,
    ref: int | None = None,
    topic: str | None = None,
    message: str | None = None,
    retry_after: float | None = None,
) -> Send:
    """Return the effect that sends ``code`` to the client.

    ``message`` is added to the code's text; ``retry_after`` is in seconds.
    """
    text = code.message if message is None else f"{code.message} ({message})"
    payload = ErrorPayload(
        code=code.name, message=text, retry_after=None if retry_after is None else round(retry_after, 3)
    )
    return Send(frames.ErrorFrame(ref=ref, topic=topic, payload=payload))


def rate_limited(frame: frames.Inbound | Send, seconds: float) -> Send:
    """Return the effect that tells a client to send this message again after so many seconds."""
    ref, topic = getattr(frame, "ref", None), getattr(frame, "topic", None)
    return error_reply(codes.RATE_LIMITED, ref=ref, topic=topic, retry_after=seconds)
