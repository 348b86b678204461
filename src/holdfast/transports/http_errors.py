"""Errors of the protocol as responses to HTTP requests."""

from typing import Any

import msgspec

from holdfast.protocol import codes
from holdfast.protocol.codes import Code
from holdfast.protocol.frames import ErrorPayload

from .asgi import Send
from .responses import respond_json

STATUS = {
    codes.MALFORMED.name: 400,
    codes.INVALID_MESSAGE.name: 400,
    codes.INVALID_PAYLOAD.name: 400,
    codes.TOO_LARGE.name: 413,
    codes.FORBIDDEN.name: 403,
    codes.CSRF_FAILED.name: 403,
    codes.ORIGIN_REFUSED.name: 403,
    codes.NOT_FOUND.name: 404,
    codes.UNKNOWN_ACTION.name: 404,
    codes.REFUSED.name: 409,
    codes.KEY_REUSED.name: 409,
    codes.OUTCOME_UNKNOWN.name: 409,
    codes.TOO_MANY_CALLS.name: 429,
    codes.RATE_LIMITED.name: 429,
    codes.INTERNAL.name: 500,
    codes.UNAVAILABLE.name: 503,
    codes.TIMEOUT.name: 504,
}
"""The status of each error that a call can be answered with."""


def payload_of(code: Code, retry_after: float | None = None) -> ErrorPayload:
    """Return the payload of an error of which there is nothing more to say."""
    return ErrorPayload(code=code.name, message=code.message, retry_after=retry_after)


async def fail(send: Send, payload: ErrorPayload) -> None:
    """Answer with the error that a WebSocket would carry, the status of its code, and ``Retry-After`` if it says when."""
    headers: list[tuple[bytes, bytes]] = []
    if payload.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(payload.retry_after))).encode()))
    body: dict[str, Any] = {"type": "error", "payload": payload}
    await respond_json(send, STATUS.get(payload.code, 400), msgspec.json.encode(body), *headers)
