"""A complete ASGI WebSocket server for one connection, for Uvicorn's ``--ws``.

It speaks ASGI 3 (WebSocket spec 2.4 with denial responses) to any application, and offers the extension ``holdfast.adopt``.
An application that sends ``{"type": "holdfast.adopt", "subprotocol": …, "adopt": …, "binary": …, "message_bytes": …,
"write_buffer_bytes": …}`` instead of ``websocket.accept`` gives the connection away. The server completes the handshake and calls ``adopt`` with the
:class:`~holdfast.connections.transport.Transport`; ``adopt`` returns the
:class:`~holdfast.connections.transport.ConnectionHandler`. The application may then return: nothing of the ASGI side is kept.
"""

import asyncio
import logging
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

from holdfast.process.limited_log import log_limited, place_of

from . import framing, handshake
from .adopted import AdoptedProtocol
from .decision import Decision
from .deflate import DEFLATE, Deflate, negotiate
from .framing import CloseCode, ProtocolError, TooManyFrames
from .keepalive import Keepalive
from .limits import HEAD_BYTES, LINGER_SECONDS, PORTION_BYTES
from .outgoing import frame_of
from .parser import PACE, Parser
from .receive_queue import ReadingGate, ReceiveQueue
from .response import Headers, Response
from .scope import Endpoints, endpoints_of, log_outcome, make_scope
from .state import SocketState
from .turns import TurnReader

logger = logging.getLogger("uvicorn.error")

CLOSE_SECONDS = 10.0
"""Seconds that a client may take to answer a close, and to read what was written before it."""

SHUTDOWN_SECONDS = 1.0  # the same while the server is stopping

Message = dict[str, Any]


class WebSocketProtocol(TurnReader):
    """One connection, from the upgrade request on."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._state = SocketState.CONNECTING
        self._ended_by_app, self._early = False, b""
        self._request: handshake.UpgradeRequest
        self._gate: ReadingGate
        self._incoming: ReceiveQueue
        self._scope: dict[str, Any] = {}
        self._denial: Response | None = None
        self._deflate: Deflate | None = None
        self._unread, self._watch, self._delay = None, None, 0.0
        self._decision = Decision(self._loop)
        self._writable: asyncio.Future[None] | None = None
        self._unanswered: bytes | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._keepalive = Keepalive(self._loop, config.ws_ping_interval, config.ws_ping_timeout)

    # ── the transport ─────────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._gate = ReadingGate(self._transport)
        self._incoming = ReceiveQueue(self._gate)
        self._server_state.connections.add(cast("Any", self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(cast("Any", self))
        self._ended_by_app = False  # the client is gone: that explains whatever the application sends now
        self._keepalive.stop()
        self._end_of_reading()
        self._decision.came()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if self._state in (SocketState.HANDSHAKE, SocketState.DENYING, SocketState.OPEN):
            self._incoming.disconnect(CloseCode.ABNORMAL)  # 7.1.5
        self._state = SocketState.CLOSED
        self.resume_writing()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable and not writable.done():
            writable.set_result(None)
        if self._unanswered is not None and self._state is SocketState.OPEN:
            self._pong(self._unanswered)
        self._unanswered = None

    def data_received(self, data: bytes) -> None:
        if self._state in (SocketState.OPEN, SocketState.CLOSING):
            super().data_received(data)
        elif self._state in (SocketState.CONNECTING, SocketState.HANDSHAKE):
            self._early += data
            if self._state is SocketState.CONNECTING:
                self._begin()
            elif len(self._early) > PORTION_BYTES:
                self._incoming.pause_reading()

    def _hold(self) -> None:
        self._gate.hold(self)

    def _release(self) -> None:
        self._gate.release(self)

    def shutdown(self) -> None:
        """Shut down, because the server is stopping."""
        match self._state:
            case SocketState.OPEN:
                self._incoming.disconnect(CloseCode.SERVICE_RESTART)
                self._close(CloseCode.SERVICE_RESTART, seconds=SHUTDOWN_SECONDS)
            case SocketState.HANDSHAKE:
                self._respond(500, [], b"Internal Server Error")
            case SocketState.CLOSING | SocketState.CONNECTING | SocketState.DENYING | SocketState.CLOSED:
                self._transport.close()
            case SocketState.ADOPTED:
                pass  # Uvicorn calls the adopted protocol itself

    @property
    def drainable(self) -> bool:
        """Is it an open connection of an ASGI application, such as a Channels consumer?"""
        return self._state is SocketState.OPEN

    busy = False
    """Always ``False``: what its application is doing is unknown."""

    def drain(self, after: float) -> None:
        self.shutdown()  # its code means "reconnect"; it cannot say when

    @property
    def undecided(self) -> bool:
        """Has the application not answered the handshake yet?"""
        return self._state in (SocketState.CONNECTING, SocketState.HANDSHAKE)

    # ── the handshake ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        end = self._early.find(b"\r\n\r\n")
        if end < 0:
            if len(self._early) > HEAD_BYTES:
                self._respond(431, [], b"request head too large")
            return
        head, self._early = self._early[: end + 4], self._early[end + 4 :]
        self.upgrade(head, endpoints_of(self._transport))

    def upgrade(self, head: bytes | handshake.RequestHead, ends: Endpoints) -> None:
        """Begin with a request, whose head the HTTP protocol before has parsed if there was one."""
        try:
            self._request = handshake.parse(head)
        except handshake.HandshakeRefused as refused:
            self._respond(refused.status, refused.headers, refused.text.encode())
            return
        self._state = SocketState.HANDSHAKE
        self._scope = make_scope(self._config, ends, self._request, self._app_state)
        self._incoming.connect()
        task = self._loop.create_task(self._run())
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)
        refuse = partial(self._respond, 503, [(b"retry-after", b"1")], b"Service Unavailable")
        self._decision.expect(task, refuse)

    async def _run(self) -> None:
        """Run the application to its end, and then close the connection unless it was given away."""
        app: Any = self._config.loaded_app
        code = CloseCode.INTERNAL_ERROR
        try:
            result = await app(self._scope, self._incoming.receive, self._send)
        except ClientDisconnected:
            pass
        except Exception as error:  # noqa: BLE001 - logged here
            log_limited(logger, logging.ERROR, place_of(error), "Exception in ASGI application", error=error)
        else:
            code = CloseCode.NORMAL
            if result is not None:
                logger.error("ASGI callable should return None, but returned '%s'.", result)
            if self._state in (SocketState.HANDSHAKE, SocketState.DENYING):
                logger.error("ASGI callable returned without completing handshake.")
        finally:
            self._app_ended(code)

    def _app_ended(self, code: CloseCode) -> None:
        if self._state is SocketState.OPEN:
            self._close(code)
        elif self._denial is not None and self._denial.begun and self._state is SocketState.DENYING:
            self._transport.abort()  # half a response must not look like a whole one
        elif self._state in (SocketState.HANDSHAKE, SocketState.DENYING):
            self._respond(500, [], b"Internal Server Error")
        self._scope = {}

    def _respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer with an ordinary response, and close."""
        self._transport.write(Response(status, [*self._default_headers(), *headers]).part(body))
        self._refused()

    def _refused(self) -> None:
        self._decision.came()
        self._incoming.disconnect(CloseCode.ABNORMAL)
        self._state = SocketState.CLOSED
        self._hang_up()

    def _default_headers(self) -> Headers:
        return [(name, value) for name, value in self._server_state.default_headers if name != b"connection"]

    def _accept(self, message: Message, keep: int | None = None) -> None:
        extension = negotiate(self._request.extensions) if self._config.ws_per_message_deflate else None
        headers = [*self._default_headers(), *message.get("headers", [])]
        subprotocol = message.get("subprotocol") or None
        response = handshake.switching(self._request, headers, subprotocol, extension)
        log_outcome(self._config, self._scope, "[accepted]")
        self._deflate = DEFLATE if extension else None
        self._parser = Parser(self._config.ws_max_size, self._deflate, keep=keep, pace=PACE)
        self._transport.write(response)

    def _open(self) -> None:
        self._state = SocketState.OPEN
        self._keepalive.start(self._ping, self._dead)
        self._incoming.resume_reading()
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def _adopt(self, message: Message) -> None:
        """Complete the handshake and give the connection away."""
        adopt, binary, limit = message["adopt"], message["binary"], message["write_buffer_bytes"]
        self._accept(message, message.get("message_bytes"))
        self._state = SocketState.ADOPTED
        connections = self._server_state.connections
        connections.discard(cast("Any", self))
        adopted = AdoptedProtocol(self._transport, self._parser, self._deflate is not None, connections)
        self._transport.set_protocol(adopted)
        try:
            adopted.begin(adopt, binary=binary, write_buffer_bytes=limit)
        except Exception:
            adopted.close(CloseCode.INTERNAL_ERROR, "")
            raise
        finally:
            self._incoming.resume_reading()
        early, self._early = self._early, b""
        if early:
            adopted.data_received(early)

    # ── from the client to the application ────────────────────────────────────────────────────────────────────────────

    def _take(self, messages: list[framing.ClientMessage]) -> None:
        for message in messages:
            match message.opcode:
                case framing.TEXT | framing.BINARY:
                    if self._state is SocketState.OPEN:
                        self._incoming.put(message)
                case framing.PING:
                    self._pong(cast("bytes", message.data))
                case framing.PONG:
                    self._keepalive.answered()
                case _:
                    self._closed_by_client(message)

    def _pong(self, data: bytes) -> None:
        if self._writable is not None:
            self._unanswered = data  # 5.5.3: answering the most recent ping is enough. Others would pile up
        elif self._state is SocketState.OPEN:
            self._transport.write(framing.encode(framing.PONG, data))

    def _closed_by_client(self, message: framing.ClientMessage) -> None:
        if self._state is SocketState.OPEN:
            self._incoming.disconnect(message.code, cast("str", message.data))
            self._transport.write(framing.encode_close(message.code))  # 5.5.1: echo the code
        self._keepalive.stop()
        self._state = SocketState.CLOSED
        self._hang_up()

    # ── from the application to the client ────────────────────────────────────────────────────────────────────────────

    async def _send(self, message: Message) -> None:
        while self._writable is not None:
            await asyncio.shield(self._writable)
        kind = message["type"]
        match self._state:
            case SocketState.HANDSHAKE:
                self._send_decision(kind, message)
            case SocketState.DENYING if kind == "websocket.http.response.body":
                self._send_denial(message)
            case SocketState.OPEN if kind == "websocket.send":
                self._transport.write(frame_of(message, self._deflate))
            case SocketState.OPEN if kind == "websocket.close":
                self._send_close(message)
            case SocketState.CLOSING | SocketState.CLOSED if not self._ended_by_app:
                raise ClientDisconnected
            case _:
                raise RuntimeError(
                    f"Unexpected ASGI message {kind!r}: the connection is {self._state.value}."
                )

    def _send_decision(self, kind: str, message: Message) -> None:
        self._decision.came()
        match kind:
            case "websocket.accept":
                self._accept(message)
                self._open()
            case "holdfast.adopt":
                self._adopt(message)
            case "websocket.close":
                log_outcome(self._config, self._scope, "403")
                self._ended_by_app = True
                self._respond(403, [], b"")
            case "websocket.http.response.start":
                headers = [*self._default_headers(), *message.get("headers", [])]
                self._denial = Response(message["status"], headers)
                self._state = SocketState.DENYING
                log_outcome(self._config, self._scope, str(message["status"]))
            case _:
                raise RuntimeError(
                    "Expected ASGI message 'websocket.accept', 'websocket.close', 'websocket.http.response.start' or "
                    f"'holdfast.adopt', but got {kind!r}."
                )

    def _send_denial(self, message: Message) -> None:
        assert self._denial is not None
        more = message.get("more_body", False)
        self._transport.write(self._denial.part(message.get("body", b""), more=more))
        if not more:
            self._ended_by_app = True
            self._refused()

    def _send_close(self, message: Message) -> None:
        code, reason = message.get("code") or CloseCode.NORMAL, message.get("reason") or ""
        if not framing.valid_close_code(code):
            raise ValueError(
                f"{code} is not a close code that may be sent; use 1000, or one from 3000 to 4999."
            )
        self._ended_by_app = True
        self._incoming.disconnect(code, reason)
        self._close(code, reason)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _close(self, code: int, reason: str = "", seconds: float = CLOSE_SECONDS) -> None:
        """Begin the closing handshake (7.1.2), and end it without the client if it does not answer."""
        self._keepalive.stop()
        self._state = SocketState.CLOSING
        self._transport.write(framing.encode_close(code, reason))
        self._parser.expect_close()
        self._incoming.resume_reading()
        self._abort_timer = self._loop.call_later(seconds, self._transport.abort)

    def _overdue(self) -> None:
        self._fail(ProtocolError(CloseCode.POLICY_VIOLATION, "message not finished in time"))

    def _fail(self, error: ProtocolError) -> None:
        """Close after an error of the client (7.1.7), and wait for its end.

        Closing while the client still sends could destroy the close frame on its way.
        """
        floods = isinstance(error, TooManyFrames)
        if self._state is SocketState.OPEN:
            self._incoming.disconnect(error.code, error.reason)
            self._close(error.code, error.reason, LINGER_SECONDS if floods else CLOSE_SECONDS)
            if floods:
                self._stop_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
                return
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the transport once everything is written, or by force if the client does not read."""
        self._incoming.resume_reading()
        self._transport.close()
        if self._abort_timer is None:
            self._abort_timer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def _ping(self) -> None:
        if self._writable is None:
            self._transport.write(framing.encode(framing.PING, b"holdfast"))

    def _dead(self) -> None:
        # An answer that could not be read: the application is slow, not the client.
        if self._incoming.reading_paused:
            self._keepalive.start(self._ping, self._dead)
        else:
            self._fail(ProtocolError(CloseCode.INTERNAL_ERROR, "keepalive ping timeout"))
