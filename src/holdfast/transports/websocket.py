"""WebSocket on any ASGI server: carries messages between a socket and a connection, and decides nothing."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, ClassVar

from channels.sessions import InstanceSessionWrapper
from django.contrib.auth import SESSION_KEY
from django.utils.functional import empty

from holdfast.connections.caller import user_id
from holdfast.connections.connection import Connection
from holdfast.connections.manager import ConnectionManager
from holdfast.connections.sink import Sink
from holdfast.hub.prepared import Burst, Prepared
from holdfast.protocol import codec as codecs
from holdfast.protocol import codes
from holdfast.protocol.codec import Codec

from .host import host_of
from .refusals import RefusalLog, shown

logger = logging.getLogger("holdfast.websocket")

CLOSE_SECONDS = 5.0
"""How long a client may take to answer a close."""

LONGEST_KEY = 100
"""Characters. Django's own keys have 32."""

NEWS_SECONDS = 1.0
"""How long a server may take to say that a client has gone, after a send to it failed."""

_refusals = RefusalLog(logger, time.monotonic())

PROMPT_BYTES = 16 * 1024
"""Queued bytes after which the server's own buffers are full, rather than that its ``send`` just waits for a moment."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class LiveWebSocket:
    """The ASGI application behind ``/live/ws``. ``service`` is asked at each connection."""

    was_made: ClassVar[bool] = False
    """Is there one in this process? Commands and checks ask, to know whether an application has live topics."""

    def __init__(self, service: Callable[[], ConnectionManager]) -> None:
        self._service = service
        LiveWebSocket.was_made = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"the live endpoint speaks WebSocket, and was called with scope type {scope['type']!r}"
            )
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or []
        codec = codecs.choose(offered)
        if codec is None:
            _refusals.note(
                f"A WebSocket was refused: it offers the subprotocols {shown(', '.join(offered))}, and this server speaks "
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
        """Let the server and the hub deal with each other: this application ends here (:mod:`holdfast.server`)."""
        service = self._service()
        hub, user = await service.runtime.hub(), _user_of(scope)
        key, host = _session_key_of(scope, user), _host_of(scope, service)

        def adopt(sink: Sink) -> Connection:
            return Connection(service, hub, sink, codec, user=user, session_key=key, host=host)

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
        sink = AsgiSink(
            _past_sessions(send), codec.binary, service.policy.write_buffer_bytes, _current_task()
        )
        hub, user = await service.runtime.hub(), _user_of(scope)
        key, host = _session_key_of(scope, user), _host_of(scope, service)
        connection = Connection(service, hub, sink, codec, user=user, session_key=key, host=host)
        sink.connection = connection
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
            if not sink.given_up:
                raise
        finally:
            sink.end()
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


def _host_of(scope: Scope, service: ConnectionManager) -> str | None:
    """The host, if that matters."""
    return host_of(scope) if service.runtime.threads.tells_hosts_apart else None


def _past_sessions(send: Send) -> Send:
    """Channels' session middleware looks at every message, whether it is the start of a response, which could carry the
    session's cookie. After the accept none is, and looking costs as much as a quarter of a delivery."""
    wrapper: Any = getattr(send, "__self__", None)
    return _past_sessions(wrapper.real_send) if type(wrapper) is InstanceSessionWrapper else send


def _current_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None, "ASGI applications run in a task"
    return task


async def _refuse(scope: Scope, send: Send) -> None:
    """Turn a handshake down, with a body that says why if the server can send one."""
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


class AsgiSink:
    """Writes to an ASGI server without a task of its own.

    ``await send(…)`` on most servers returns without ever waiting while the client reads. So the awaitable is stepped
    right here, once, and only when it does wait is it set aside until its future is done, and what comes meanwhile
    queues up. A fan-out so costs one function call per member and no switch of tasks. (asyncio's own eager tasks do the
    same from Python 3.12 on, for the price of a task each.)

    That a send waits says little about the client: Granian's always does, for a moment. Only when more than ``limit``
    bytes have queued up is the connection told to hold its events back, and it overflows at twice that. After
    :meth:`report_blocking` the connection also learns of ``PROMPT_BYTES``.
    """

    __slots__ = (
        "_application",
        "_binary",
        "_blocked",
        "_closing",
        "_dead",
        "_limit",
        "_loop",
        "_over",
        "_paused",
        "_queue",
        "_queued",
        "_reports",
        "_send",
        "_waiting",
        "connection",
        "given_up",
    )

    def __init__(self, send: Send, binary: bool, limit: int, application: "asyncio.Task[Any]") -> None:
        self._application = application
        self._send = send
        self._binary = binary
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._waiting: Iterator[Any] | None = None
        self._queue: deque[tuple[Message, int]] = deque()
        self._queued = 0
        self._paused = False
        self._blocked = False  # the connection knows of PROMPT_BYTES that wait
        self._reports = False
        self._closing = False  # nothing more is accepted
        self._dead = False  # nothing more is sent
        self._over = False  # the application has ended
        self.given_up = False
        self.connection: Connection | None = None

    def send(self, data: str | bytes) -> None:
        self._pass_on(
            {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}, len(data)
        )

    def send_events(self, burst: Burst) -> None:
        form = _binary_message if self._binary else _text_message
        for event in burst.events:
            self._pass_on(event.form(form), len(event.payload))

    def probe(self) -> bool:
        """ASGI has no event for WebSocket's ping and pong frames."""
        return False

    def report_blocking(self) -> None:
        self._reports = True

    def close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._pass_on({"type": "websocket.close", "code": code, "reason": reason}, 0)
        self._closing = True
        self._loop.call_later(CLOSE_SECONDS, self._give_up)

    def _fail(self, error: Exception) -> None:
        """The server did not take a message, and the client is still there."""
        if self._over:
            return
        logger.warning(
            "%r: the server did not send a message; its connection is closed: %r", self.connection, error
        )
        code = codes.FAILED
        self._step(
            iter(
                self._send(
                    {"type": "websocket.close", "code": code.close, "reason": code.message}
                ).__await__()
            )
        )
        self._loop.call_later(CLOSE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """The other side does not take the close. Let go of it: the server ends a connection whose application has."""
        if not self._over:
            self.given_up = True
            self._application.cancel()

    def end(self) -> None:
        """The connection is over. A send that still waits learns of it from the server, and is left to end."""
        self._closing = self._dead = self._over = True
        self._queue.clear()

    def _pass_on(self, message: Message, size: int) -> None:
        if self._closing:
            return
        if self._waiting is None:
            self._step(iter(self._send(message).__await__()))
            return
        self._queue.append((message, size))
        self._queued += size
        if (
            self._reports
            and not self._blocked
            and self._queued > PROMPT_BYTES
            and self.connection is not None
        ):
            self._blocked = True
            self.connection.socket_full()
        if self._queued > self._limit and self.connection is not None:
            self._fill_up(self.connection)

    def _fill_up(self, connection: Connection) -> None:
        if not self._paused:
            self._paused = True
            connection.paused()
        elif self._queued > 2 * self._limit:
            self._queued = 0  # it is told once
            connection.overflowed()

    def _step(self, awaitable: Iterator[Any]) -> bool:
        """Run a send as far as it goes; say whether it is over."""
        try:
            future = next(awaitable)
        except StopIteration:
            return True
        except Exception as error:  # noqa: BLE001 - each server has its own error for "the client has gone"
            # Then the server tells the receiving side too, and that is where the connection ends. If it does not, it
            # was this message that it did not take (Daphne: above 1 MiB), and one message must not be missing.
            if not self._dead:
                self._closing = self._dead = True
                self._loop.call_later(NEWS_SECONDS, self._fail, error)
            return True
        self._waiting = awaitable
        if future is None:  # a bare yield: asks to be stepped again in the next turn
            self._loop.call_soon(self._resume)
        else:
            future._asyncio_future_blocking = False
            future.add_done_callback(self._resume)
        return False

    def _resume(self, _: object = None) -> None:
        waiting = self._waiting
        if waiting is None or not self._step(waiting):
            return
        while self._queue and not self._dead:
            message, size = self._queue.popleft()
            self._queued -= size
            if not self._step(iter(self._send(message).__await__())):
                return
        self._waiting, self._queued = None, 0
        if self._paused or self._blocked:
            self._paused = self._blocked = False
            if not self._closing and self.connection is not None:
                self.connection.resumed()
