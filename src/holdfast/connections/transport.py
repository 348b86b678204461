"""The contract between a connection and what carries it: :class:`Transport` writes, :class:`ConnectionHandler` reads.

It stands here rather than in ``transports/``, because connections are below transports and imports point down. Every
transport implements it; ``tests/transports`` runs one suite over all of them.
"""

from typing import ClassVar, Protocol

from holdfast.protocol.codes import Code
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst


class Transport(Protocol):
    """The writing end of one connection. Its methods neither block nor raise.

    A transport keeps what it cannot write yet. It then calls ``paused()`` of its handler, and ``resumed()`` once everything
    is written. Between the two calls it is given no events, only answers; if even those exceed its bound, it calls
    ``stalled()``. After :meth:`report_blocking` it also calls ``socket_full()`` as soon as the socket is full. As after
    ``paused()``, ``resumed()`` follows once everything is written.
    """

    name: ClassVar[str]
    """The name in logs and figures."""

    duplex: ClassVar[bool]
    """Does it bring the client's messages? If not, no heartbeat is expected and the server sends keepalives."""

    closed_by_server: ClassVar[bool]
    """Does the server close it when it stops? If not, the server would wait for its end, and the connection says goodbye as soon
    as the process begins to end."""

    binary: ClassVar[bool]
    """Can it carry messages in a binary encoding?"""

    @property
    def bytes_sent(self) -> int | None:
        """Bytes written so far; ``None`` if this transport does not count them."""

    def send(self, data: str | bytes) -> None:
        """Write one message of the protocol."""

    def send_events(self, burst: Burst) -> None:
        """Write events in the encoding of this connection, in order."""

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        """Note that the next message answers the join of ``topic``, which the client called ``asked``.

        The events that follow begin after ``position``; ``None`` for a topic without a log. A transport whose client resumes
        by itself, as an ``EventSource`` does, sends the position along.
        """

    def note_reset(self, topic: str, position: Position | None) -> None:
        """Note that the next message is a reset, after which ``topic`` goes on from ``position``."""

    def probe(self) -> bool:
        """Ask the client for a sign of life and report its answer to the handler's ``show_life()``.

        Return ``False`` if the transport cannot ask, or does not see the answer.
        """

    def report_blocking(self) -> None:
        """Call the handler's ``socket_full()`` from now on. This can cost one more system call per write."""

    def slow_down(self, seconds: float) -> None:
        """Read nothing from the client for so many seconds, as far as this transport can. What it has read already still
        arrives."""

    def close(self, code: int, reason: str) -> None:
        """Close after everything that was sent. The codes are those of :mod:`holdfast.protocol.codes`, or 1000."""


class ConnectionHandler(Protocol):
    """The reading end of one connection: what happened on its transport. Called on the event loop's thread only."""

    def receive(self, data: str | bytes) -> None:
        """Handle a message of the client."""

    def oversized(self) -> None:
        """Note that the client sent a message of more than ``message_bytes``, which the transport has dropped."""

    def hang_up(self, code: Code) -> None:
        """Say goodbye with this code and close, because the client floods the transport or does not finish a message."""

    def show_life(self) -> None:
        """Note a sign of life that is no message, such as a ping or pong frame."""

    def socket_full(self) -> None:
        """Note that the socket takes no more for now. Called only after :meth:`Transport.report_blocking`."""

    def paused(self) -> None:
        """Note that the write buffer is full. Until :meth:`resumed`, only answers may be written."""

    def resumed(self) -> None:
        """Note that everything is written, and the socket takes more."""

    def stalled(self) -> None:
        """Note that not even answers fit into the write buffer."""

    @property
    def busy(self) -> bool:
        """Are calls of the client still running?"""

    def shut_down(self, after: float | None = None) -> None:
        """Say goodbye and close, because the server is stopping.

        The client may reconnect after ``after`` seconds; with ``None`` the handler assigns it a slot.
        """

    def closed(self) -> None:
        """Note that the connection is gone. Called once, last."""


class ClosedTransport:
    """The transport of a connection that is gone. It drops what is written and holds no resources."""

    __slots__ = ()

    name: ClassVar = "closed"
    duplex: ClassVar = True
    closed_by_server: ClassVar = True
    binary: ClassVar = True
    bytes_sent: ClassVar = None

    def send(self, data: str | bytes) -> None:
        pass

    def send_events(self, burst: Burst) -> None:
        pass

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        pass

    def note_reset(self, topic: str, position: Position | None) -> None:
        pass

    def probe(self) -> bool:
        return False

    def report_blocking(self) -> None:
        pass

    def slow_down(self, seconds: float) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        pass


CLOSED = ClosedTransport()
