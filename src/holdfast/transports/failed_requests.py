"""Failures of the live endpoints: a catalogued answer for the client, and a limited record in the log.

An exception that an application raises is the ASGI server's to log, which writes one traceback for each request. Clients can repeat
what causes it.
"""

import logging

from holdfast.protocol import codes
from holdfast.protocol.codes import Code
from holdfast.protocol.server_protocol import RETRY_SECONDS
from holdfast.topics.failures import Verdict, report, verdict_of

from .asgi import Message, Receive, Scope, Send
from .handshake import Handshake
from .http_errors import fail, payload_of
from .origin import Application

logger = logging.getLogger("holdfast.http")

RETRY = (b"retry-after", b"%d" % RETRY_SECONDS)


def answer_to(error: Exception) -> tuple[int, Code]:
    """Return the status and the code of the answer to a request that failed with this exception."""
    match verdict_of(error):
        case Verdict.DENIED | Verdict.MISSING:
            return 403, codes.FORBIDDEN
        case Verdict.UNAVAILABLE:
            return 503, codes.UNAVAILABLE
        case Verdict.INVALID | Verdict.FAULT:
            return 500, codes.INTERNAL


async def refuse_failed(handshake: Handshake, error: Exception) -> None:
    """Log the exception that a handshake or a request failed with, and answer it: 503 with ``Retry-After`` if a later attempt may
    succeed, else 500. The answer has no details."""
    report(logger, f"a request ({handshake.transport}) failed", error)
    status, code = answer_to(error)
    if status == 503:
        await handshake.refuse(status, code, RETRY, retry_after=RETRY_SECONDS)
    else:
        await handshake.refuse(status, code)


class Answering:
    """ASGI's ``send`` of one response, which knows whether the response has begun."""

    __slots__ = ("begun", "send")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self.send(message)


def unwatched(send: Send) -> Send:
    """Return the server's ``send``, for a response that has begun and sends very many messages."""
    return send.send if isinstance(send, Answering) else send


class FailedRequests:
    """ASGI middleware around one HTTP endpoint, which answers the requests that fail in it.

    ``name`` is that of the endpoint in the log and in notices. ``in_json``: the endpoint answers with the errors that a WebSocket
    would carry. A response that has begun when the exception comes ends there: the client sees that it is not complete.
    """

    def __init__(self, application: Application, name: str, *, in_json: bool = False) -> None:
        self._application = application
        self._name = name
        self._in_json = in_json

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = Answering(send)
        try:
            await self._application(scope, receive, answering)
        except Exception as error:
            if not answering.begun:
                await self._answer(Handshake(scope, send, self._name), error)
            elif isinstance(error, OSError):
                raise  # the client has gone (ASGI, HTTP specification 2.4)
            else:
                report(logger, f"a response ({self._name}) could not be completed", error)

    async def _answer(self, handshake: Handshake, error: Exception) -> None:
        if not self._in_json:
            await refuse_failed(handshake, error)
            return
        report(logger, f"a request ({self._name}) failed", error)
        status, code = answer_to(error)
        handshake.report(code, status=status)
        await fail(handshake.send, payload_of(code, retry_after=RETRY_SECONDS if status == 503 else None))
