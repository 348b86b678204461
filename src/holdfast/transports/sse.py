"""Server-sent events, at ``/live/sse?topic=…&topic=…``. Takes no protocol decision.

The request carries what a WebSocket's first messages carry: the topics to join, and in ``Last-Event-ID`` the positions from
which to resume. Nothing more comes from the client on this connection.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.http import QueryDict

from holdfast.auth.base import Identity
from holdfast.connections.admission import Admission
from holdfast.connections.connection import Connection
from holdfast.connections.manager import ConnectionManager
from holdfast.connections.transport import Transport
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst

from .admission import admit
from .asgi import AsgiTransport, Message, Receive, Scope, Send
from .event_stream import EVENT_STREAM, HEADERS, StreamIds, retry
from .failed_requests import unwatched
from .handshake import Handshake
from .responses import respond
from .stream_request import StreamRequest, asked_by

RETRY_SECONDS = (1.0, 4.0)
"""Seconds after which an ``EventSource`` reconnects when its connection is lost: a random time between these, so that the clients
of a server that died do not all return at once."""


class LiveEventStream:
    """The ASGI application behind ``/live/sse``. ``service`` is called at each connection."""

    def __init__(self, service: Callable[[], ConnectionManager]) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await respond(scope, send, 405, "An event stream is opened by GET.\n", (b"allow", b"GET"))
            return
        handshake = Handshake(scope, send, AsgiEventStream.name)
        admission = await admit(self._service().boundary, handshake)
        if admission is None:
            return
        try:
            await self._open(admission, handshake, receive)
        finally:
            admission.end()  # unless a connection has it

    async def _open(self, admission: Admission, handshake: Handshake, receive: Receive) -> None:
        scope, send = handshake.scope, handshake.send
        asked = await asked_by(self._service(), handshake, QueryDict(scope.get("query_string", b"")))
        if asked is None:
            return
        identity, request = asked
        await admission.identify(identity.owner)
        await self._serve(identity, admission, request, receive, send, scope.get("extensions", {}))

    async def _serve(
        self,
        identity: Identity,
        admission: Admission,
        request: StreamRequest,
        receive: Receive,
        send: Send,
        extensions: Mapping[str, Any],
    ) -> None:
        service = self._service()
        hub = await service.runtime.hub()

        def connect(transport: Transport) -> Connection:
            return Connection(service, hub, transport, EVENT_STREAM, identity, admission)

        start: Message = {"type": "http.response.start", "status": 200, "headers": list(HEADERS)}
        limit = service.policy.write_buffer_bytes
        if "holdfast.adopt" not in extensions:
            await send(start)
        elif await _give_away(start, connect, request, send, limit):
            return
        task = asyncio.current_task()
        assert task is not None, "ASGI applications run in a task"
        ids = StreamIds(len(request.joins), request.since)
        transport = AsgiEventStream(unwatched(send), limit, task, ids)
        connection = transport.connection = connect(transport)
        try:
            _begin(transport, connection, request)
            if service.runtime.leaving:
                connection.shut_down()
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not transport.given_up:
                raise
        finally:
            transport.end()
            connection.closed()


async def _give_away(
    start: Message,
    connect: Callable[[Transport], Connection],
    request: StreamRequest,
    send: Send,
    write_buffer_bytes: int,
) -> bool:
    """Begin the response, and offer it to the server (:mod:`holdfast.server.http`). Return whether the server has it."""
    given = False

    def adopt(transport: Transport) -> Connection:
        nonlocal given
        given = True
        connection = connect(transport)
        _begin(transport, connection, request)
        return connection

    offer = {
        "adopt": adopt,
        "ids": StreamIds(len(request.joins), request.since),
        "write_buffer_bytes": write_buffer_bytes,
    }
    await send({**start, "holdfast.adopt": offer})
    if not given:
        offer.clear()  # middleware may keep the message, and pass it on later
    return given


def _begin(transport: Transport, connection: Connection, request: StreamRequest) -> None:
    transport.send(f"{retry(random.uniform(*RETRY_SECONDS))}\n")  # noqa: S311 - nothing secret depends on it
    connection.start(request.hello, request.joins)


class AsgiEventStream(AsgiTransport):
    """An event stream on any ASGI server. ``ids`` are those of its events."""

    __slots__ = ("_ids",)

    name: ClassVar = "sse"
    duplex: ClassVar = False
    closed_by_server: ClassVar = False
    binary: ClassVar = False

    def __init__(self, send: Send, limit: int, application: "asyncio.Task[Any]", ids: StreamIds) -> None:
        super().__init__(send, limit, application)
        self._ids = ids

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        if position is not None:
            self._ids.begin(asked, topic, position)

    def note_reset(self, topic: str, position: Position | None) -> None:
        if position is not None:
            self._ids.move(topic, position)

    def send(self, data: str | bytes) -> None:
        block = self._ids.block(data)
        self.answer(_body(block), len(block))

    def send_events(self, burst: Burst) -> None:
        blocks = self._ids.blocks(burst)
        self.pass_on(_body(blocks), len(blocks))

    def probe(self) -> bool:
        """Return ``False``: a client cannot answer on its stream."""
        return False

    def closing_message(self, code: int, reason: str) -> Message:
        return {"type": "http.response.body", "body": b"", "more_body": False}


def _body(block: bytes) -> Message:
    return {"type": "http.response.body", "body": block, "more_body": True}
