"""WebSocket on any ASGI server. It carries messages between a socket and a connection, and takes no protocol decision."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar

from channels.sessions import InstanceSessionWrapper
from django.contrib.auth import SESSION_KEY
from django.utils.functional import empty

from holdfast.connections.caller import user_id
from holdfast.connections.connection import Connection
from holdfast.connections.service import Service
from holdfast.connections.transport import Transport
from holdfast.protocol import codec as codecs
from holdfast.protocol import codes
from holdfast.protocol.codec import Codec
from holdfast.streams.prepared import Burst, Prepared

from .asgi import AsgiTransport, Message, Receive, Scope, Send
from .host import host_of
from .refusals import RefusalLog, shown

logger = logging.getLogger("holdfast.websocket")

LONGEST_KEY = 100
"""Characters. Django's own keys have 32."""

_refusals = RefusalLog(logger, time.monotonic())


class LiveWebSocket:
    """The ASGI application behind ``/live/ws``. ``service`` is called at each connection."""

    was_made: ClassVar[bool] = False
    """Whether this process has one. Commands and checks use it to know whether an application has live topics."""

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service = service
        LiveWebSocket.was_made = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"the live endpoint takes WebSocket connections, but was called with scope type {scope['type']!r}"
            )
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or []
        codec = codecs.choose(offered)
        if codec is None:
            _refusals.note(
                f"A WebSocket was refused: it offers the subprotocols {shown(', '.join(offered))}, but this server speaks "
                f"{', '.join(codes.SUBPROTOCOLS)}. Update the client.",
                time.monotonic(),
            )
            await _refuse(scope, send)
            return
        subprotocol = codec.name if offered else None
        if "holdfast.adopt" in scope.get("extensions", {}):
            await self._give_away(scope, send, codec, subprotocol)
            return
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        await self._serve(scope, receive, send, codec)

    async def _give_away(self, scope: Scope, send: Send, codec: Codec, subprotocol: str | None) -> None:
        """Give the connection to the server and the hub (:mod:`holdfast.server`). The application ends here."""
        service = self._service()
        hub, user = await service.runtime.hub(), _user_of(scope)
        key, host = _session_key_of(scope, user), _host_of(scope, service)

        def adopt(transport: Transport) -> Connection:
            return Connection(service, hub, transport, codec, user=user, session_key=key, host=host)

        await send(
            {
                "type": "holdfast.adopt",
                "subprotocol": subprotocol,
                "adopt": adopt,
                "binary": codec.binary,
                "write_buffer_bytes": service.policy.write_buffer_bytes,
            }
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send, codec: Codec) -> None:
        service = self._service()
        transport = AsgiWebSocket(
            _past_sessions(send), service.policy.write_buffer_bytes, _current_task(), binary=codec.binary
        )
        hub, user = await service.runtime.hub(), _user_of(scope)
        key, host = _session_key_of(scope, user), _host_of(scope, service)
        connection = Connection(service, hub, transport, codec, user=user, session_key=key, host=host)
        transport.connection = connection
        try:
            while True:
                message = await receive()
                kind = message["type"]
                if kind == "websocket.receive":
                    text = message.get("text")
                    connection.receive(text if text is not None else message["bytes"])
                elif kind == "websocket.disconnect":
                    return
        except asyncio.CancelledError:
            if not transport.given_up:
                raise
        finally:
            transport.end()
            connection.closed()


def _user_of(scope: Scope) -> Any:
    """The user that the authentication middleware found, without the lazy wrapping that it comes in."""
    user = scope.get("user")
    found = getattr(user, "_wrapped", user)
    return user if found is empty else found


def _session_key_of(scope: Scope, user: Any) -> str | None:
    """The key of the session that said who the user is; ``None`` if something else said it, or if the session is kept by
    the client (then it has no key, but is the cookie)."""
    session: Any = scope.get("session")
    session = getattr(session, "_wrapped", session)
    said: Any = getattr(session, "_session_cache", None)
    if not said or user is None or str(said.get(SESSION_KEY)) != user_id(user):
        return None
    key: str | None = session.session_key
    return key if key is not None and len(key) <= LONGEST_KEY else None


def _host_of(scope: Scope, service: Service) -> str | None:
    """Return the host if the project distinguishes hosts, otherwise ``None``."""
    return host_of(scope) if service.runtime.threads.tells_hosts_apart else None


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

    def probe(self) -> bool:
        """Return ``False``: ASGI has no event for WebSocket's ping and pong frames."""
        return False

    def closing_message(self, code: int, reason: str) -> Message:
        return {"type": "websocket.close", "code": code, "reason": reason}
