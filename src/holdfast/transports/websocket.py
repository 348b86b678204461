"""WebSocket on any ASGI server. It carries messages between a socket and a connection, and takes no protocol decision."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar

from channels.sessions import InstanceSessionWrapper

from holdfast.auth.base import Identity
from holdfast.auth.presented import without_tokens
from holdfast.connections.admission import Admission
from holdfast.connections.connection import Connection
from holdfast.connections.manager import ConnectionManager
from holdfast.connections.transport import Transport
from holdfast.hub.hub import Hub
from holdfast.protocol import codec as codecs
from holdfast.protocol import codes
from holdfast.protocol.codec import Codec
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst, Prepared

from .admission import admit
from .asgi import AsgiTransport, Message, Receive, Scope, Send
from .authentication import identify
from .failed_requests import refuse_failed
from .handshake import Handshake
from .refusals import RefusalLog, shown

logger = logging.getLogger("holdfast.websocket")


_refusals = RefusalLog(logger, time.monotonic())

WIDE_BYTES = 1 << 20
"""A server that passes on larger messages than this, or than four times ``MESSAGE_BYTES``, stores more than it needs to."""

PER_TURN = 8
"""Messages of one client that are handled before others have their turn."""


class LiveWebSocket:
    """The ASGI application behind ``/live/ws``. ``service`` is called at each connection."""

    was_made: ClassVar[bool] = False
    """Whether this process has one. Commands and checks use it to know whether an application has live topics."""

    def __init__(self, service: Callable[[], ConnectionManager]) -> None:
        self._service = service
        LiveWebSocket.was_made = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"the live endpoint takes WebSocket connections, but was called with scope type {scope['type']!r}"
            )
        await receive()  # websocket.connect
        handshake = Handshake(scope, send, AsgiWebSocket.name)
        try:
            admission = await admit(self._service().boundary, handshake)
        except Exception as error:  # noqa: BLE001 - reported there
            await refuse_failed(handshake, error)
            return
        if admission is None:
            return
        try:
            await self._open(admission, handshake, receive)
        finally:
            admission.end()  # unless a connection has it

    async def _open(self, admission: Admission, handshake: Handshake, receive: Receive) -> None:
        service, scope, send = self._service(), handshake.scope, handshake.send
        offered = without_tokens(scope.get("subprotocols") or [])
        codec = codecs.choose(offered)
        if codec is None:
            _refusals.note(
                f"A WebSocket was refused: it offers the subprotocols {shown(', '.join(offered))}, but this server speaks "
                f"{', '.join(codes.SUBPROTOCOLS)}. Update the client.",
                time.monotonic(),
            )
            handshake.report(codes.UNSUPPORTED_PROTOCOL, status=400)
            await _refuse(scope, send)
            return
        try:
            identity = await identify(service.authenticator, service.boundary, handshake)
            if identity is None:
                return
            await admission.identify(identity.owner)
            hub = await service.runtime.hub()
        except Exception as error:  # noqa: BLE001 - reported there: an ASGI server writes a traceback for each handshake
            await refuse_failed(handshake, error)
            return
        subprotocol = codec.name if offered else None
        if "holdfast.adopt" in scope.get("extensions", {}):
            await self._give_away(hub, identity, admission, send, codec, subprotocol)
            return
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        await self._serve(hub, identity, admission, receive, send, codec)

    async def _give_away(
        self,
        hub: Hub,
        identity: Identity,
        admission: Admission,
        send: Send,
        codec: Codec,
        subprotocol: str | None,
    ) -> None:
        """Give the connection to the server and the hub. The application ends here (:mod:`holdfast.server`)."""
        service = self._service()

        def adopt(transport: Transport) -> Connection:
            return Connection(service, hub, transport, codec, identity, admission)

        await send(
            {
                "type": "holdfast.adopt",
                "subprotocol": subprotocol,
                "adopt": adopt,
                "binary": codec.binary,
                "message_bytes": service.policy.limits.message_bytes,
                "write_buffer_bytes": service.policy.write_buffer_bytes,
            }
        )

    async def _serve(
        self, hub: Hub, identity: Identity, admission: Admission, receive: Receive, send: Send, codec: Codec
    ) -> None:
        service = self._service()
        transport = AsgiWebSocket(
            _past_sessions(send), service.policy.write_buffer_bytes, _current_task(), binary=codec.binary
        )
        connection = Connection(service, hub, transport, codec, identity, admission)
        transport.connection = connection
        received, wide = 0, max(WIDE_BYTES, 4 * service.policy.limits.message_bytes)
        try:
            while True:
                message = await receive()
                kind = message["type"]
                if kind == "websocket.receive":
                    text = message.get("text")
                    data = text if text is not None else message["bytes"]
                    connection.receive(data)
                    if len(data) > wide:
                        _warn_of_wide_limits(wide)
                    if transport.deaf:
                        await transport.pause()
                    received += 1
                    if received % PER_TURN == 0:
                        # `receive()` does not wait while the server's queue has messages.
                        await asyncio.sleep(0)
                elif kind == "websocket.disconnect":
                    return
        except asyncio.CancelledError:
            if not transport.given_up:
                raise
        finally:
            transport.end()
            connection.closed()


def _warn_of_wide_limits(wide: int) -> None:
    _refusals.note(
        f"The ASGI server passed on a message of more than {wide} bytes, which is refused with too_large. It stores such messages, "
        "and inflates compressed ones, before Holdfast sees them. Set its limits: uvicorn --ws-max-size 262144 "
        "--ws-per-message-deflate false, or hypercorn's websocket_max_message_size; or use `manage.py holdfast serve`.",
        time.monotonic(),
    )


def _past_sessions(send: Send) -> Send:
    """Return ``send`` without the wrapper of Channels' session middleware.

    It checks every message for the start of a response, which could carry the session's cookie. After the accept there is
    none, and the check costs as much as a quarter of a delivery.
    """
    wrapper: Any = getattr(send, "__self__", None)
    return _past_sessions(wrapper.real_send) if type(wrapper) is InstanceSessionWrapper else send


def _current_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None, "ASGI applications run in a task"
    return task


async def _refuse(scope: Scope, send: Send) -> None:
    """Refuse a handshake, with a body that states the reason if the server can send one."""
    if "websocket.http.response" in scope.get("extensions", {}):
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "websocket.http.response.start", "status": 400, "headers": headers})
        body = codes.UNSUPPORTED_PROTOCOL.message.encode()
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": codes.UNSUPPORTED_PROTOCOL.close})


def _text_message(event: Prepared) -> Message:
    return {"type": "websocket.send", "text": event.json.decode()}


def _binary_message(event: Prepared) -> Message:
    return {"type": "websocket.send", "bytes": event.msgpack}


class AsgiWebSocket(AsgiTransport):
    """WebSocket on any ASGI server. ``binary`` selects the encoding of this connection."""

    __slots__ = ("_form",)

    name: ClassVar = "websocket"
    duplex: ClassVar = True
    closed_by_server: ClassVar = True
    binary: ClassVar = True

    def __init__(self, send: Send, limit: int, application: "asyncio.Task[Any]", *, binary: bool) -> None:
        super().__init__(send, limit, application)
        self._form = _binary_message if binary else _text_message

    def send(self, data: str | bytes) -> None:
        self.answer({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}, len(data))

    def send_events(self, burst: Burst) -> None:
        form = self._form
        for event in burst.events:
            self.pass_on(event.form(form), len(event.payload))

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        pass  # a client with a WebSocket knows where it is

    def note_reset(self, topic: str, position: Position | None) -> None:
        pass

    def probe(self) -> bool:
        """Return ``False``: ASGI has no event for WebSocket's ping and pong frames."""
        return False

    def closing_message(self, code: int, reason: str) -> Message:
        return {"type": "websocket.close", "code": code, "reason": reason}
