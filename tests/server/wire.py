"""A WebSocket protocol class on a transport in memory, with a clock that moves only on request."""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from typing import Any, cast

from uvicorn import Config
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Close, Frame
from websockets.http11 import Response
from websockets.uri import parse_uri

from holdfast.server import WebSocketProtocol
from holdfast.server.parser import Parser

App = Callable[[Any, Any, Any], Any]


class Clock:
    """The loop that a protocol gets, with timers that :meth:`advance` runs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []

    def time(self) -> float:
        return self._now

    def create_task(self, coroutine: Any) -> asyncio.Task[Any]:
        return self._loop.create_task(coroutine)

    def create_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(self._now + delay, callback, arguments, cast("Any", self))
        heapq.heappush(self._timers, (timer.when(), id(timer), timer))
        return timer

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """asyncio counts cancelled timers; here they are skipped when they are due."""

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled() for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            self._now, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                timer._run()
            await settle()
        self._now = end


class Wire(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self, *, half_closes: bool = True, strict: bool = True, **extra: Any) -> None:
        super().__init__({"sockname": ("10.0.0.1", 8000), "peername": ("192.0.2.7", 50123), **extra})
        self._protocol: Any = None
        self._half_closes = half_closes
        self._strict = strict
        self.sent = bytearray()
        self.stuck = False
        self.reading = True
        self.aborted = False
        self.eof_written = False
        self.lost = False
        self._closing = False

    def write(self, data: Any) -> None:
        assert not self.eof_written, "written after the end"
        if not self._closing and not self.lost:
            self.sent += data

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return len(self.sent) if self.stuck else 0

    def can_write_eof(self) -> bool:
        return self._half_closes

    def write_eof(self) -> None:
        self.eof_written = True

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        assert not self._strict or (self.reading and not self._closing), "paused twice, or closing"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self._strict or not (self.reading or self._closing), "resumed twice, or closing"
        self.reading = True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.stuck:
                asyncio.get_running_loop().call_soon(self.lose, None)

    def abort(self) -> None:
        self.aborted = self._closing = True
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = self._closing = True
            self._protocol.connection_lost(error)


peers: list["Peer"] = []
"""The peers of the running test."""


class Peer:
    """A client by the websockets library's own state machine, and the server's end of the wire."""

    def __init__(
        self, app: App, *, protocol: type[Any] = WebSocketProtocol, wire: Wire | None = None, **config: Any
    ) -> None:
        config = {"ws_per_message_deflate": False, "ws_ping_interval": None, **config}
        self.config = Config(app, ws=protocol, lifespan="off", log_config=None, **config)
        self.config.load()
        self.state = ServerState()
        self.clock = Clock()
        self.wire = wire or Wire()
        self.server = protocol(
            config=self.config,
            server_state=self.state,
            app_state={"from": "lifespan"},
            _loop=cast("Any", self.clock),
        )
        self.wire.set_protocol(self.server)
        self.server.connection_made(self.wire)
        peers.append(self)
        self.client: Any = None
        self.response: Response | None = None
        self.frames: list[Frame] = []

    async def ask(
        self,
        path: str = "/live/?x=1",
        *,
        subprotocols: Iterable[str] = (),
        headers: dict[str, str] | None = None,
        deflate: bool = False,
        early: bytes = b"",
    ) -> None:
        """Send the upgrade request; see :attr:`response`."""
        self.client = ClientProtocol(
            parse_uri(f"ws://harbor.example{path}"),
            subprotocols=cast("Any", list(subprotocols)) or None,
            extensions=[ClientPerMessageDeflateFactory()] if deflate else None,
        )
        request = self.client.connect()
        request.headers.update(headers or {})
        self.client.send_request(request)
        self.server.data_received(b"".join(self.client.data_to_send()) + early)
        await self.settle()
        parser = getattr(self.wire.get_protocol(), "_parser", None)
        if isinstance(parser, Parser):
            parser._clock = self.clock.time  # on a slow machine a flood would last long enough to be none

    async def open(self, **how: Any) -> "Peer":
        await self.ask(**how)
        assert self.response is not None
        assert self.client.handshake_exc is None, self.client.handshake_exc
        return self

    async def settle(self) -> None:
        """Let both sides act, and read what was written."""
        await settle()
        if not self.wire.stuck:
            self.read()

    def read(self) -> None:
        data, self.wire.sent = bytes(self.wire.sent), bytearray()
        if self.client is None:
            return
        if data:
            self.client.receive_data(data)
        if (self.wire.lost or self.wire.eof_written) and not self.client.eof_sent and data is not None:
            try:
                self.client.receive_eof()
            except EOFError:
                pass
        for event in self.client.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame):
                self.frames.append(event)

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            if isinstance(message, str):
                self.client.send_text(message.encode())
            else:
                self.client.send_binary(message)
        await self.flush()

    async def flush(self) -> None:
        data = b"".join(self.client.data_to_send())
        if data:
            self.receive(data)
        await self.settle()

    def receive(self, data: bytes) -> None:
        assert self.wire.reading, "the server does not read"
        self.wire.get_protocol().data_received(data)

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        self.client.send_close(code, reason)
        await self.flush()

    async def lose(self, error: Exception | None = None) -> None:
        self.wire.lose(error)
        await self.settle()

    @property
    def status(self) -> int:
        if self.response is not None:
            return self.response.status_code
        assert isinstance(self.client.handshake_exc, InvalidStatus), self.client.handshake_exc
        return self.client.handshake_exc.response.status_code

    @property
    def received(self) -> list[str | bytes]:
        """The messages that arrived."""
        return [
            bytes(frame.data).decode() if frame.opcode == 1 else bytes(frame.data)
            for frame in self.frames
            if frame.opcode in (1, 2)
        ]

    @property
    def closed(self) -> tuple[int, str] | None:
        """The close that arrived."""
        close: Close | None = self.client.close_rcvd
        return None if close is None else (close.code, close.reason)


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class Recorder:
    """An application that records what it receives and sends ``answers``."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.scope: Any = None
        self.events: list[dict[str, Any]] = []
        self.errors: list[Exception] = []
        self.ended = False
        self._answers = answers
        self.receive: Any
        self.send: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        try:
            self.events.append(await receive())
            for answer in self._answers:
                await send(answer)
            await self.serve()
        except Exception as error:
            self.errors.append(error)
            raise
        finally:
            self.ended = True

    async def serve(self) -> None:
        while self.events[-1]["type"] != "websocket.disconnect":
            self.events.append(await self.receive())

    @property
    def disconnect(self) -> dict[str, Any]:
        (event,) = (event for event in self.events if event["type"] == "websocket.disconnect")
        return event


ACCEPT = {"type": "websocket.accept"}


class Slow(Recorder):
    """Receives only on request."""

    async def serve(self) -> None:
        self.go_on = asyncio.Event()
        await self.go_on.wait()
        await super().serve()


class Doing(Recorder):
    """Runs ``what`` once it has accepted."""

    def __init__(self, what: Callable[["Doing"], Any], *answers: dict[str, Any]) -> None:
        super().__init__(*(answers or (ACCEPT,)))
        self._what = what

    async def serve(self) -> None:
        await self._what(self)
