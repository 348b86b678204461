"""Every transport with a client at its far end. Another transport is another class in :data:`CARRIERS`.

Client and server share one event loop, whose clock may jump. ``tests/asgi_servers`` tries the same with real sockets.
"""

import asyncio
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec

from holdfast.connections.connection import Connection
from holdfast.connections.manager import ConnectionManager
from holdfast.connections.transport import Transport
from holdfast.protocol import codes
from holdfast.protocol.codec import JSON, MSGPACK
from holdfast.server.adopted import AdoptedProtocol
from holdfast.server.adopted_stream import AdoptedStream
from holdfast.transports.polling import LINGER_SECONDS, LivePolling, PollTransport
from holdfast.transports.sse import AsgiEventStream, LiveEventStream
from holdfast.transports.websocket import AsgiWebSocket, LiveWebSocket
from tests.server.http_wire import HttpPeer
from tests.server.wire import Peer, Wire
from tests.support.clock import turns

from .event_stream import EventStreamReader

Frame = dict[str, Any]


class Carrier(ABC):
    """One connection, from its client's side."""

    transport: ClassVar[type[Transport]]

    patience: ClassVar[float] = math.inf
    """Seconds that the transport itself waits for a client that does not read."""

    def __init__(self, service: ConnectionManager, codec: Any) -> None:
        self.service = service
        self.codec = codec
        self._heard = 0
        self._silent = False

    @classmethod
    async def open(
        cls, service: ConnectionManager, *, codec: Any = JSON, client: str = "ada", topics: Sequence[str] = ()
    ) -> "Carrier":
        """Connect, name the client, and ask to join ``topics`` with the references 1, 2, …

        A transport that is not duplex overrides this: its request carries the hello and the joins.
        """
        carrier = cls(service, codec)
        await carrier.connect()
        await carrier.say(type="hello", payload={"client": client})
        for ref, topic in enumerate(topics, 1):
            await carrier.say(type="join", ref=ref, topic=topic)
        return carrier

    @property
    def connection(self) -> Connection:
        (connection,) = self.service.connections
        assert isinstance(connection, Connection)
        return connection

    @abstractmethod
    async def connect(self) -> None:
        """Open the transport."""

    @abstractmethod
    async def send(self, data: str | bytes) -> None:
        """Send one message, in whichever way the client's messages reach this connection."""

    @abstractmethod
    def messages(self) -> list[str | bytes]:
        """Return all messages that the client has read so far."""

    def keepalives(self, frames: Sequence[Frame]) -> int:
        """Return how many keepalives the client has read, ``frames`` being all its messages."""
        return sum(frame["type"] == "pong" for frame in frames)

    @abstractmethod
    async def stop_reading(self) -> None:
        """Read nothing from now on; what the server sends piles up."""

    @abstractmethod
    async def read_on(self) -> None:
        """Read again."""

    def fall_silent(self) -> None:
        """Send nothing from now on, not even what a WebSocket library answers by itself."""
        self._silent = True

    @abstractmethod
    async def vanish(self) -> None:
        """Lose the connection without a close."""

    @property
    @abstractmethod
    def closed(self) -> tuple[int, str] | None:
        """Code and reason of the close that the client has read."""

    async def settle(self) -> None:
        await turns(40)
        await asyncio.sleep(0.01)  # threads have read what there was to read from the log
        await turns(40)

    async def say(self, **message: Any) -> None:
        if self.codec.binary:
            await self.send(msgspec.msgpack.encode(message))
        else:
            await self.send(json.dumps(message))

    async def hear(self) -> list[Frame]:
        """Return the messages that arrived since the last call."""
        await self.settle()
        messages = self.messages()
        new, self._heard = messages[self._heard :], len(messages)
        return [
            msgspec.msgpack.decode(message) if isinstance(message, bytes) else json.loads(message)
            for message in new
        ]


class AsgiServer(Carrier):
    """WebSocket on an ASGI server whose ``send`` waits while the client does not read."""

    transport = AsgiWebSocket

    async def connect(self) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._read: list[str | bytes] = []
        self._closed: tuple[int, str] | None = None
        self._reading = asyncio.Event()
        self._reading.set()
        scope = {"type": "websocket", "path": "/live/ws", "subprotocols": [self.codec.name], "headers": []}
        self._events.put_nowait({"type": "websocket.connect"})
        application = LiveWebSocket(lambda: self.service)
        self._task = asyncio.create_task(application(scope, self._events.get, self._send))
        await self.settle()

    async def _send(self, message: Any) -> None:
        await self._reading.wait()
        match message["type"]:
            case "websocket.send":
                self._read.append(message["text"] if "text" in message else message["bytes"])
            case "websocket.close":
                self._closed = message["code"], message["reason"]
                self._events.put_nowait({"type": "websocket.disconnect", "code": message["code"]})

    async def send(self, data: str | bytes) -> None:
        key = "text" if isinstance(data, str) else "bytes"
        self._events.put_nowait({"type": "websocket.receive", key: data})
        await self.settle()

    def messages(self) -> list[str | bytes]:
        return self._read

    async def stop_reading(self) -> None:
        self._reading.clear()

    async def read_on(self) -> None:
        self._reading.set()
        await self.settle()

    async def vanish(self) -> None:
        self._events.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await self.settle()

    @property
    def closed(self) -> tuple[int, str] | None:
        return self._closed


class Buffer(Wire):
    """A wire in memory that reports a full write buffer to its protocol, as asyncio's transports do."""

    full = False

    def write(self, data: Any) -> None:
        super().write(data)
        if self.stuck and not self.full and len(self.sent) > (self.high or 0):
            self.full = True
            self.get_protocol().pause_writing()

    def drained(self) -> None:
        if self.full:
            self.full = False
            self.get_protocol().resume_writing()


class HoldfastServer(Carrier):
    """WebSocket on :mod:`holdfast.server`, which gives the connection away."""

    transport = AdoptedProtocol

    async def connect(self) -> None:
        self._wire = Buffer()
        self._peer = Peer(LiveWebSocket(lambda: self.service), wire=self._wire)
        await self._peer.open(subprotocols=[self.codec.name])

    async def send(self, data: str | bytes) -> None:
        await self._peer.send(data)

    async def settle(self) -> None:
        await super().settle()
        await self._peer.settle()
        if not (self._silent or self._wire.stuck or self._wire.lost):
            await self._peer.flush()  # what the client's WebSocket library answers by itself

    def messages(self) -> list[str | bytes]:
        return self._peer.received

    async def stop_reading(self) -> None:
        self._wire.stuck = True

    async def read_on(self) -> None:
        while self._wire.stuck or self._wire.sent:
            self._wire.stuck = False
            self._peer.read()
            self._wire.drained()
            await self.settle()

    async def vanish(self) -> None:
        await self._peer.lose(ConnectionResetError())

    @property
    def closed(self) -> tuple[int, str] | None:
        return self._peer.closed


class AsgiEventStreamServer(Carrier):
    """Server-sent events on an ASGI server whose ``send`` waits while the client does not read."""

    transport = AsgiEventStream

    @classmethod
    async def open(
        cls,
        service: ConnectionManager,
        *,
        codec: Any = JSON,
        client: str | None = "ada",
        topics: Sequence[str] = ("empty",),
        last_event_id: str | None = None,
    ) -> "AsgiEventStreamServer":
        carrier = cls(service, codec)
        query = [("topic", topic) for topic in topics]
        if client is not None:
            query.append(("client", client))
        headers = [] if last_event_id is None else [(b"last-event-id", last_event_id.encode())]
        carrier.scope = {
            "type": "http",
            "method": "GET",
            "path": "/live/sse",
            "query_string": urlencode(query).encode(),
            "headers": headers,
        }
        await carrier.connect()
        return carrier

    async def connect(self) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.reader = EventStreamReader()
        self.raw = b""
        self.bodies: list[bytes] = []
        self._ended = False
        self._reading = asyncio.Event()
        self._reading.set()
        application = LiveEventStream(lambda: self.service)
        self._task = asyncio.create_task(application(self.scope, self._events.get, self._send))
        await self.settle()

    async def _send(self, message: Any) -> None:
        await self._reading.wait()
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        self.raw += message["body"]
        self.bodies.append(message["body"])
        if self.status == 200:
            self.reader.feed(message["body"])
        if not message.get("more_body"):
            self._ended = True
            self._events.put_nowait({"type": "http.disconnect"})

    async def send(self, data: str | bytes) -> None:
        """Hand the message to the connection, as a request beside the stream does."""
        self.connection.receive(data)
        await self.settle()

    def messages(self) -> list[str | bytes]:
        return [data for _, data in self.reader.messages]

    def keepalives(self, frames: Sequence[Frame]) -> int:
        return self.reader.comments

    async def stop_reading(self) -> None:
        self._reading.clear()

    async def read_on(self) -> None:
        self._reading.set()
        await self.settle()

    async def vanish(self) -> None:
        self._events.put_nowait({"type": "http.disconnect"})
        await self.settle()

    @property
    def closed(self) -> tuple[int, str] | None:
        """The close, as the goodbye before it says."""
        if not self._ended:
            return None
        goodbye = json.loads(self.reader.messages[-1][1])
        code = codes.CATALOGUE[goodbye["payload"]["code"]]
        return code.close or 1000, code.message


class HoldfastEventStreamServer(AsgiEventStreamServer):
    """Server-sent events on :mod:`holdfast.server`, which gives the response away."""

    transport = AdoptedStream

    async def connect(self) -> None:
        self._wire = Buffer(strict=False)
        self.reader = EventStreamReader()
        self._peer = HttpPeer(LiveEventStream(lambda: self.service), wire=self._wire)
        headers = {name.decode(): value.decode() for name, value in self.scope["headers"]}
        await self._peer.ask(f"/live/sse?{self.scope['query_string'].decode()}", headers=headers)
        await self.settle()

    async def settle(self) -> None:
        await super().settle()
        await self._peer.settle()

    @property
    def status(self) -> int:
        return self._peer.status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return self._peer.headers

    @property
    def raw(self) -> bytes:
        return self._peer.body

    def messages(self) -> list[str | bytes]:
        self._feed()
        return super().messages()

    def keepalives(self, frames: Sequence[Frame]) -> int:
        self._feed()
        return super().keepalives(frames)

    def _feed(self) -> None:
        self.reader = EventStreamReader()
        self.reader.feed(self.raw)

    async def stop_reading(self) -> None:
        self._wire.stuck = True

    async def read_on(self) -> None:
        while self._wire.stuck or self._wire.sent:
            self._wire.stuck = False
            self._peer.read()
            self._wire.drained()
            await self.settle()

    async def vanish(self) -> None:
        self._wire.lose(ConnectionResetError())
        await self.settle()

    @property
    def _ended(self) -> bool:
        return self._wire.lost


class PollingServer(Carrier):
    """Long polling: a client that asks again as soon as it has an answer."""

    transport = PollTransport
    patience = LINGER_SECONDS

    @classmethod
    async def open(
        cls,
        service: ConnectionManager,
        *,
        codec: Any = JSON,
        client: str = "ada",
        topics: Sequence[str] = ("empty",),
        last_event_id: str = "",
        application: LivePolling | None = None,
        address: str | None = "203.0.113.7",
    ) -> "PollingServer":
        carrier = cls(service, codec)
        carrier._address = address
        carrier.application = application or LivePolling(lambda: service)
        carrier._query = [("client", client), *(("topic", topic) for topic in topics)]
        carrier.last, carrier.session, carrier.ack = last_event_id, "", 0
        carrier._read, carrier._goes_on, carrier._asking = [], True, None
        await carrier.connect()
        return carrier

    async def connect(self) -> None:
        self._asking = asyncio.create_task(self._ask_on())
        await self.settle()

    async def _ask_on(self) -> None:
        while self._goes_on and not self.closed:
            status, answer = await self.ask()
            assert status == 200, answer
            self.session, self.ack, self.last = answer["session"], answer["ack"], answer["last"]
            self._read += [json.dumps(message) for message in answer["messages"]]

    async def ask(self, **changed: Any) -> tuple[int, Any]:
        """Send one request, and return the status and the body of its answer."""
        state = {"session": self.session, "ack": self.ack, "last-event-id": self.last} | changed
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/live/poll",
            "client": None if self._address is None else (self._address, 1),
            "query_string": urlencode([*self._query, *state.items()]).encode(),
            "headers": [],
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await self.application(scope, asyncio.Event().wait, send)
        body = sent[1]["body"]
        return sent[0]["status"], json.loads(body) if sent[0]["status"] == 200 else body

    async def send(self, data: str | bytes) -> None:
        self.connection.receive(data)
        await self.settle()

    def messages(self) -> list[str | bytes]:
        return list(self._read)

    def keepalives(self, frames: Sequence[Frame]) -> int:
        return 3  # a client that asks knows that the connection is alive

    async def stop_reading(self) -> None:
        self._goes_on = False
        assert self._asking is not None
        self._asking.cancel()
        await asyncio.gather(self._asking, return_exceptions=True)

    async def read_on(self) -> None:
        self._goes_on = True
        await self.connect()
        await self.settle()

    async def vanish(self) -> None:
        await self.stop_reading()
        await asyncio.sleep(LINGER_SECONDS + 1)

    @property
    def closed(self) -> tuple[int, str] | None:
        goodbye = json.loads(self._read[-1]) if self._read else {"type": ""}
        if goodbye["type"] != "goodbye":
            return None
        code = codes.CATALOGUE[goodbye["payload"]["code"]]
        return code.close or 1000, code.message


CARRIERS: tuple[type[Carrier], ...] = (
    AsgiServer,
    HoldfastServer,
    AsgiEventStreamServer,
    HoldfastEventStreamServer,
    PollingServer,
)
CODECS = {"json": JSON, "msgpack": MSGPACK}
