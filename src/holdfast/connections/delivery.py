"""The side of a connection that the hub writes to."""

from abc import ABC, abstractmethod

from holdfast.hub.hub import Hub
from holdfast.protocol import codes
from holdfast.protocol.codec import Codec
from holdfast.protocol.codes import Code
from holdfast.protocol.frames import ResetFrame, position_of
from holdfast.protocol.server_protocol import Phase, ServerProtocol

from .joined_topic import JoinedTopic
from .transport import Transport


class Delivery(ABC):
    """The base of a connection: it delivers events to a transport, and stops while that takes no more. It is the hub's
    :class:`~holdfast.streams.subscriber.Subscriber`."""

    __slots__ = (
        "_codec",
        "_hub",
        "_joined",
        "_loop",
        "_paused_since",
        "_session",
        "_transport",
        "blocked",
        "ready",
        "write",
    )

    _session: ServerProtocol

    def __init__(self, hub: Hub, transport: Transport, codec: Codec) -> None:
        self._hub = hub
        self._loop = hub.loop
        self._transport = transport
        self._codec = codec
        self._joined: dict[str, JoinedTopic] = {}
        self._paused_since: float | None = None
        self.ready, self.blocked = True, False
        self.write = transport.send_events

    @property
    def closed_by_server(self) -> bool:
        """Does the server close this connection when it stops?"""
        return self._transport.closed_by_server

    @property
    @abstractmethod
    def client(self) -> str:
        """The client's public id."""

    @abstractmethod
    def hang_up(self, code: Code, after: float | None = None, reason: str | None = None) -> None:
        """Close the connection from the server's side."""

    # ── reports of the transport ─────────────────────────────────────────────────────────────────────────────────────

    def socket_full(self) -> None:
        """Note that the socket's buffer is full. The transport still accepts data."""
        self.blocked = True
        self._paused_since = self._loop.time()

    def paused(self) -> None:
        """Write no more events: the transport's own buffer is full."""
        self.ready = False
        self._paused_since = self._loop.time()

    def resumed(self) -> None:
        """Go on with all topics: the transport has written everything it was given."""
        self._paused_since = None
        self.blocked = False
        self.ready = self._session.phase is not Phase.CLOSED
        for joined in tuple(self._joined.values()):
            if not self.ready:
                return
            self._hub.resume(joined.subscription)

    # ── requests of the hub ────────────────────────────────────────────────────────────────────────────────────────────

    def write_reset(self, reset: ResetFrame) -> None:
        self._transport.note_reset(reset.topic, position_of(reset.payload))
        self._transport.send(self._codec.encode(reset))

    def fail(self) -> None:
        # Later, because this is called in the middle of a fan-out, and a hang-up writes to the same connection.
        self._loop.call_soon(self.hang_up, codes.FAILED)

    def overflow(self) -> None:
        self._loop.call_soon(self.hang_up, codes.STALLED)
