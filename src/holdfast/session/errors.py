"""The error reply to a client's message."""

from holdfast.protocol import frames
from holdfast.protocol.codes import Code
from holdfast.protocol.frames import ErrorPayload

from .effects import Send


def error_reply(
    code: Code,
    *,
    ref: int | None = None,
    topic: str | None = None,
    message: str | None = None,
    retry_after: float | None = None,
) -> Send:
    """Return the frame that answers with ``code``. ``message`` is added to the code's own text; ``retry_after`` is in seconds."""
    text = code.message if message is None else f"{code.message} ({message})"
    payload = ErrorPayload(
        code=code.name, message=text, retry_after=None if retry_after is None else round(retry_after, 3)
    )
    return Send(frames.Error(ref=ref, topic=topic, payload=payload))
