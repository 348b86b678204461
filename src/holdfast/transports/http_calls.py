"""Calls of actions by POST, at ``/live/call``. Takes no protocol decision.

The body is what a ``call`` is on a WebSocket, without its ``type`` and ``ref``, and with the client's id::

    {"topic": "rooms/lobby", "name": "post", "key": "c1-17", "client": "c1", "payload": {"body": "hi"}}

The answer is the ``result`` or ``error`` that a WebSocket would carry. A key means the same on every transport: a call that a
client sent on a WebSocket and sends here again is carried out once.
"""

import asyncio
import secrets
from collections.abc import Callable

import msgspec

from holdfast.auth.base import Identity
from holdfast.auth.session import session_key
from holdfast.connections.caller import ConnectionCaller
from holdfast.connections.manager import ConnectionManager
from holdfast.connections.pending_reply import Outcome
from holdfast.connections.reporting import CALL_LIMITS
from holdfast.connections.request import CallFailed
from holdfast.connections.unjoined import EARLY, check_admitted
from holdfast.protocol import codes
from holdfast.protocol.frames import CallKey, ClientId, Name, TopicName
from holdfast.protocol.server_protocol import RETRY_SECONDS
from holdfast.topics.topic import Topic

from .asgi import Receive, Scope, Send
from .authentication import identify
from .csrf import passes_csrf
from .handshake import Handshake
from .http_errors import fail, payload_of
from .request_body import body_of, client_gone
from .responses import respond, respond_json


class PostedCall(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a request. ``client`` is the id that the client keeps across its connections."""

    topic: TopicName
    name: Name
    key: CallKey | None = None
    client: ClientId | None = None
    payload: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(PostedCall).decode


class LiveCalls:
    """The ASGI application behind ``/live/call``. ``service`` is called at each request."""

    def __init__(self, service: Callable[[], ConnectionManager]) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await respond(scope, send, 405, "Calls are sent by POST.\n", (b"allow", b"POST"))
            return
        service, handshake = self._service(), Handshake(scope, send, "call")
        body = await self._body(service, handshake, receive)
        if body is None:
            return
        if session_key(scope["headers"]) is not None and not await passes_csrf(
            scope, service.runtime.threads
        ):
            handshake.report(codes.CSRF_FAILED, status=403)
            await fail(send, payload_of(codes.CSRF_FAILED))
            return
        identity = await identify(service.authenticator, service.boundary, handshake)
        if identity is None:
            return
        now = asyncio.get_running_loop().time()
        if wait := service.boundary.take_post(identity.owner, identity.network, now):
            handshake.report_limit("messages", wait, identity.user_id)
            await fail(send, payload_of(codes.RATE_LIMITED, retry_after=wait))
            return
        try:
            result = await self._carry_out(service, identity, body, receive)
        except CallFailed as failed:
            limit = CALL_LIMITS.get(failed.payload.code)
            if limit is not None:
                handshake.report_limit(limit, failed.payload.retry_after, identity.user_id)
            await fail(send, failed.payload)
            return
        await respond_json(send, 200, b'{"type":"result","payload":%b}' % (result or b"null"))

    async def _body(self, service: ConnectionManager, handshake: Handshake, receive: Receive) -> bytes | None:
        """Return the body. ``None``: the request was refused. A call whose body is on its way counts like one that runs."""
        network, boundary = handshake.network, service.boundary
        if not boundary.begin_body(network):
            handshake.report_limit("calls", RETRY_SECONDS)
            await fail(handshake.send, payload_of(codes.TOO_MANY_CALLS, retry_after=RETRY_SECONDS))
            return None
        try:
            return await body_of(
                handshake.scope, receive, handshake.send, service.policy.limits.message_bytes
            )
        finally:
            boundary.end_body(network)

    async def _carry_out(
        self, service: ConnectionManager, identity: Identity, body: bytes, receive: Receive
    ) -> bytes:
        """Return the result as JSON. Raises :class:`CallFailed`."""
        try:
            call = _decode(body)
        except msgspec.ValidationError as error:
            raise CallFailed.of(codes.INVALID_MESSAGE, detail=str(error)) from None
        except (UnicodeError, RecursionError, msgspec.MsgspecError) as error:
            raise CallFailed.of(codes.MALFORMED, detail=str(error)) from None
        topic, threads = service.registry.resolve(call.topic, identity.user_id), service.runtime.threads
        secret = call.client or secrets.token_hex(8)
        caller = ConnectionCaller(identity=identity, secret=secret, connection_id=secrets.token_hex(8))
        if topic is None:
            await check_admitted(threads, None, caller)
            raise CallFailed.of(codes.FORBIDDEN)
        try:
            return await self._answer(service, topic, caller, call, receive)
        except CallFailed as failed:
            if failed.payload.code in EARLY:
                await check_admitted(threads, topic, caller)
            raise

    async def _answer(
        self,
        service: ConnectionManager,
        topic: Topic,
        caller: ConnectionCaller,
        call: PostedCall,
        receive: Receive,
    ) -> bytes:
        loop = asyncio.get_running_loop()
        request = service.calls.request(
            topic, caller, call.name, call.key, bytes(call.payload), now=loop.time(), recheck=True
        )
        answer: asyncio.Future[bytes] = loop.create_future()
        gone = loop.create_task(client_gone(receive))

        def answered(outcome: Outcome) -> None:
            if answer.done() or outcome is None:
                return
            if isinstance(outcome, CallFailed):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

        try:
            service.calls.perform(request, answered, lambda: not gone.done())
            return await answer
        finally:
            gone.cancel()
