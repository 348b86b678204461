"""The failure that a client gets for an exception in an action."""

import logging

from holdfast.process.limited_log import log_limited, place_of
from holdfast.protocol import codes
from holdfast.protocol.frames import ErrorPayload
from holdfast.protocol.server_protocol import RETRY_SECONDS
from holdfast.topics.failures import Verdict, detail_of, field_errors, report, verdict_of
from holdfast.topics.refuse import Refuse

from .request import CallFailed, CallRequest

logger = logging.getLogger("holdfast.calls")

PASSING = frozenset({codes.UNAVAILABLE.name, codes.RATE_LIMITED.name})
"""Temporary errors: the same call can succeed later. They are never stored as its answer."""


def too_fast(wait: float) -> CallFailed:
    """Return the failure of a call that is within its rate after ``wait`` seconds."""
    return CallFailed.of(codes.RATE_LIMITED, retry_after=round(wait, 3))


def failure_of(request: CallRequest, error: Exception) -> CallFailed:
    """Return the failure that the client gets for an error in an action. Log the error for the developer."""
    match error:
        case CallFailed():
            return error
        case Refuse():
            message = error.message or codes.REFUSED.message
            return CallFailed(
                ErrorPayload(
                    code=codes.REFUSED.name,
                    message=message,
                    reason=error.reason,
                    retry_after=error.retry_after,
                )
            )
    what = f"{type(request.topic).__name__}.{request.action.name} failed for {request.caller!r}"
    verdict = verdict_of(error)
    if verdict is Verdict.INVALID:
        errors = field_errors(error)
        log_limited(logger, logging.INFO, place_of(error), "%s: not valid: %s", what, ", ".join(errors))
        return CallFailed.of(codes.INVALID_PAYLOAD, errors=errors)
    if verdict is Verdict.MISSING:
        log_limited(logger, logging.INFO, place_of(error), "%s: not found: %s", what, error)
        return CallFailed.of(codes.NOT_FOUND)
    report(logger, what, error)
    if verdict is Verdict.UNAVAILABLE:  # rolled back, or unknown: sending the same key again finds out
        return CallFailed.of(codes.UNAVAILABLE, retry_after=RETRY_SECONDS)
    if verdict is Verdict.DENIED:
        return CallFailed.of(codes.FORBIDDEN)
    return CallFailed.of(codes.INTERNAL, detail=detail_of(error) or "")
