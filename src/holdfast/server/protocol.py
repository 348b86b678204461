"""A complete ASGI WebSocket server for one connection, for Uvicorn's ``--ws``.

It speaks ASGI 3 (WebSocket spec 2.4, denial responses included) to any application, and offers the extension
``holdfast.adopt``: an application that sends ``{"type": "holdfast.adopt", "subprotocol": …, "adopt": …, "binary": …,
"write_buffer_bytes": …}`` instead of ``websocket.accept`` gives the connection away. The handshake is completed, ``adopt`` is called with the writing end and
returns the reading end (see :mod:`holdfast.server.adopted`), and the application may return: nothing of the ASGI side is
kept.
"""

import asyncio
import logging
from collections import deque
from enum import Enum
from typing import Any, cast
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from uvicorn.server import ServerState

from . import framing, handshake
from .adopted import AdoptedProtocol
from .deflate import RESPONSE, Deflate, negotiate
from .framing import BINARY, PING, TEXT, CloseCode, Parser, ProtocolError

logger = logging.getLogger("uvicorn.error")

HEAD_BYTES = 65536
EARLY_BYTES = 65536
QUEUE_HIGH = 32
CLOSE_SECONDS = 10.0

Message = dict[str, Any]


class State(Enum):
    CONNECTING = "waiting for the request"
    HANDSHAKE = "waiting for the application's decision"
    DENYING = "sending a denial response"
    OPEN = "open"
    CLOSING = "close sent"
    CLOSED = "closed"
    ADOPTED = "given away"


class WebSocketProtocol(asyncio.Protocol):
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
        self._transport: asyncio.Transport
        self._state = State.CONNECTING
        self._early = b""
        self._request: handshake.Request
        self._scope: dict[str, Any] = {}
        self._deflate: Deflate | None = None
        self._parser: Parser
        self._queue: deque[Message] = deque()
        self._receiver: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._writable: asyncio.Future[None] | None = None
        self._denial: tuple[int, handshake.Headers, list[bytes]] | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._ping_timer: asyncio.TimerHandle | None = None
        self._answered = True

    # ── the transport ────────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server_state.connections.add(cast("Any", self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(cast("Any", self))
        self._stop_timers()
        if self._state is State.ADOPTED:
            return
        if self._state is not State.CLOSED:
            self._state = State.CLOSED
            self._enqueue({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL, "reason": ""})
        self.resume_writing()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def eof_received(self) -> None:
        return None  # the transport closes itself

    def data_received(self, data: bytes) -> None:
        if self._state in (State.OPEN, State.CLOSING):
            self._read(data)
        elif self._state in (State.CONNECTING, State.HANDSHAKE):
            self._early += data
            if self._state is State.CONNECTING:
                self._begin()
            elif len(self._early) > EARLY_BYTES:
                self._transport.pause_reading()
                self._reading_paused = True

    def shutdown(self) -> None:
        """The server is stopping."""
        match self._state:
            case State.OPEN:
                self._enqueue(_disconnect(CloseCode.SERVICE_RESTART))
                self._close(CloseCode.SERVICE_RESTART)
            case State.HANDSHAKE:
                self._respond(500, [], b"Internal Server Error")
            case State.CLOSING | State.CONNECTING | State.DENYING | State.CLOSED:
                self._transport.close()
            case State.ADOPTED:
                pass

    # ── the handshake ────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        end = self._early.find(b"\r\n\r\n")
        if end < 0:
            if len(self._early) > HEAD_BYTES:
                self._respond(431, [], b"request head too large")
            return
        head, self._early = self._early[: end + 4], self._early[end + 4 :]
        try:
            self._request = handshake.parse(head)
        except handshake.Refused as refused:
            self._respond(refused.status, refused.headers, refused.text.encode())
            return
        self._state = State.HANDSHAKE
        self._scope = self._make_scope(self._request)
        self._enqueue({"type": "websocket.connect"})
        task = self._loop.create_task(self._run())
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _make_scope(self, request: handshake.Request) -> dict[str, Any]:
        raw_path, _, query = request.target.partition(b"?")
        root = self._config.root_path
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self._transport) else "ws",
            "server": get_local_addr(self._transport),
            "client": get_remote_addr(self._transport),
            "root_path": root,
            "path": root + unquote(raw_path.decode("ascii", "surrogateescape")),
            "raw_path": root.encode("ascii") + raw_path,
            "query_string": query,
            "headers": request.headers,
            "subprotocols": request.subprotocols,
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, "holdfast.adopt": {}},
        }

    async def _run(self) -> None:
        """Run the application to its end, and see to it that the connection ends then, unless it was given away."""
        try:
            result: Any = await self._config.loaded_app(
                cast("Any", self._scope), self._receive, cast("Any", self._send)
            )
        except ClientDisconnected:
            pass
        except BaseException as error:
            logger.exception("Exception in ASGI application\n")
            if self._state is State.OPEN:
                self._close(CloseCode.INTERNAL_ERROR)
            if not isinstance(error, Exception):
                self._fail_handshake()
                raise
        else:
            if result is not None:
                logger.error("ASGI callable should return None, but returned '%s'.", result)
            if self._state is State.HANDSHAKE:
                logger.error("ASGI callable returned without completing handshake.")
        self._fail_handshake()
        if self._state is State.OPEN:
            self._close(CloseCode.NORMAL)
        self._queue.clear()
        self._scope = {}

    def _fail_handshake(self) -> None:
        if self._state in (State.HANDSHAKE, State.DENYING):
            self._respond(500, [], b"Internal Server Error")

    def _respond(self, status: int, headers: handshake.Headers, body: bytes) -> None:
        """Answer with an ordinary response, which is the end."""
        headers = [*self._default_headers(), *headers]
        if not any(name.lower() == b"content-type" for name, _ in headers):
            headers.append((b"content-type", b"text/plain; charset=utf-8"))
        self._state = State.CLOSED
        self._transport.write(handshake.response(status, headers, body))
        self._transport.close()

    def _default_headers(self) -> handshake.Headers:
        return [(name, value) for name, value in self._server_state.default_headers if name != b"connection"]

    def _accept(self, message: Message) -> None:
        self._log("[accepted]")
        extension = None
        if self._config.ws_per_message_deflate and negotiate(self._request.extensions):
            self._deflate, extension = DEFLATE, RESPONSE
        headers = [*self._default_headers(), *message.get("headers", [])]
        self._transport.write(
            handshake.switching(self._request, headers, message.get("subprotocol"), extension)
        )
        self._parser = Parser(self._config.ws_max_size, self._deflate)

    def _open(self) -> None:
        self._state = State.OPEN
        self._schedule_ping()
        early, self._early = self._early, b""
        if early:
            self._read(early)
        self._resume_reading()

    def _adopt(self, message: Message) -> None:
        """Complete the handshake and give the connection away."""
        self._accept(message)
        self._state = State.ADOPTED
        self._server_state.connections.discard(cast("Any", self))
        deflates = self._deflate is not None
        adopted = AdoptedProtocol(self._transport, self._parser, deflates, self._server_state.connections)
        self._transport.set_protocol(adopted)
        adopted.begin(
            message["adopt"], binary=message["binary"], write_buffer_bytes=message["write_buffer_bytes"]
        )
        if self._early:
            adopted.data_received(self._early)
            self._early = b""
        self._resume_reading()

    def _log(self, outcome: str) -> None:
        if logger.isEnabledFor(logging.INFO):
            scope = cast("Any", self._scope)
            logger.info(
                '%s - "WebSocket %s" %s', get_client_addr(scope), get_path_with_query_string(scope), outcome
            )

    # ── from the client to the application ───────────────────────────────────────────────────────────────────────────

    def _read(self, data: bytes) -> None:
        try:
            messages = self._parser.feed(data)
        except ProtocolError as error:
            if self._state is State.OPEN:
                self._enqueue(_disconnect(error.code, error.reason))
                self._close(error.code, error.reason)
            self._transport.close()
            return
        for message in messages:
            match message.opcode:
                case framing.TEXT:
                    self._enqueue({"type": "websocket.receive", "text": message.data})
                case framing.BINARY:
                    self._enqueue({"type": "websocket.receive", "bytes": message.data})
                case framing.PING:
                    if self._state is State.OPEN:
                        self._transport.write(framing.encode(framing.PONG, cast("bytes", message.data)))
                case framing.PONG:
                    self._answered = True
                case _:
                    self._closed_by_client(message)

    def _closed_by_client(self, message: framing.Message) -> None:
        if self._state is State.OPEN:
            self._enqueue(_disconnect(message.code, cast("str", message.data)))
            self._transport.write(framing.encode_close(message.code))  # 5.5.1: echo the code
        self._state = State.CLOSED
        self._stop_timers()
        self._transport.close()

    def _enqueue(self, message: Message) -> None:
        if self._state is State.CLOSING and message["type"] == "websocket.receive":
            return  # nobody is interested any more, but reading goes on until the client's close has come
        self._queue.append(message)
        if len(self._queue) >= QUEUE_HIGH and not self._reading_paused and self._state is State.OPEN:
            self._transport.pause_reading()
            self._reading_paused = True
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    async def _receive(self) -> Message:
        while not self._queue:
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        message = self._queue.popleft()
        if not self._queue:
            self._resume_reading()
        return message

    # ── from the application to the client ───────────────────────────────────────────────────────────────────────────

    async def _send(self, message: Message) -> None:
        while self._writable is not None:
            await asyncio.shield(self._writable)
        kind = message["type"]
        match self._state:
            case State.HANDSHAKE:
                self._send_decision(kind, message)
            case State.DENYING:
                self._send_denial(kind, message)
            case State.OPEN if kind == "websocket.send":
                text, data = message.get("text"), message.get("bytes")
                opcode, payload = (BINARY, data) if data is not None else (TEXT, text.encode())
                self._transport.write(self._frame(opcode, payload))
            case State.OPEN if kind == "websocket.close":
                code, reason = message.get("code", CloseCode.NORMAL), message.get("reason") or ""
                self._enqueue(_disconnect(code, reason))
                self._close(code, reason)
            case State.CLOSED if kind in ("websocket.send", "websocket.accept", "websocket.close"):
                raise ClientDisconnected
            case State.CLOSING if kind == "websocket.send" and self._transport.is_closing():
                raise ClientDisconnected
            case _:
                raise RuntimeError(
                    f"Unexpected ASGI message {kind!r}: the connection is {self._state.value}."
                )

    def _send_decision(self, kind: str, message: Message) -> None:
        match kind:
            case "websocket.accept":
                self._accept(message)
                self._open()
            case "holdfast.adopt":
                self._adopt(message)
            case "websocket.close":
                self._log("403")
                self._enqueue(_disconnect(CloseCode.ABNORMAL))
                self._respond(403, [], b"")
            case "websocket.http.response.start":
                self._state = State.DENYING
                self._denial = (message["status"], list(message.get("headers", [])), [])
            case _:
                raise RuntimeError(
                    "Expected ASGI message 'websocket.accept', 'websocket.close', 'websocket.http.response.start' or "
                    f"'holdfast.adopt', but got {kind!r}."
                )

    def _send_denial(self, kind: str, message: Message) -> None:
        if kind != "websocket.http.response.body":
            raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body', but got {kind!r}.")
        assert self._denial is not None
        status, headers, body = self._denial
        body.append(message.get("body", b""))
        if not message.get("more_body", False):
            self._log(str(status))
            self._enqueue(_disconnect(CloseCode.ABNORMAL))
            self._respond(status, headers, b"".join(body))

    def _frame(self, opcode: int, payload: bytes) -> bytes:
        deflate = self._deflate
        if deflate is not None and len(payload) >= COMPRESS_BYTES:
            return framing.encode(opcode, deflate.deflate(payload), compressed=True)
        return framing.encode(opcode, payload)

    def _close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake, and end it without the client if it must be."""
        self._stop_timers()
        self._state = State.CLOSING
        self._transport.write(framing.encode_close(code, reason))
        self._resume_reading()
        self._close_timer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    # ── keepalive (5.5.2) ────────────────────────────────────────────────────────────────────────────────────────────

    def _schedule_ping(self) -> None:
        interval = self._config.ws_ping_interval
        if interval:
            self._ping_timer = self._loop.call_later(interval, self._ping)

    def _ping(self) -> None:
        self._answered = False
        self._transport.write(framing.encode(PING, b"holdfast"))
        timeout = self._config.ws_ping_timeout
        if timeout:
            self._ping_timer = self._loop.call_later(timeout, self._check_pong)
        else:
            self._schedule_ping()

    def _check_pong(self) -> None:
        if self._answered:
            self._schedule_ping()
            return
        self._enqueue(_disconnect(CloseCode.INTERNAL_ERROR, "keepalive ping timeout"))
        self._close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        self._transport.close()

    def _stop_timers(self) -> None:
        for timer in (self._close_timer, self._ping_timer):
            if timer is not None:
                timer.cancel()
        self._close_timer = self._ping_timer = None


COMPRESS_BYTES = 512
"""Messages smaller than this are sent as they are: deflate would cost more than it saves (docs/benchmarks.md)."""

DEFLATE = Deflate()


def _disconnect(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": int(code), "reason": reason}
