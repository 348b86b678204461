"""Sink: the writing end of a transport, as a connection uses it."""

from typing import Protocol

from holdfast.hub.prepared import Burst


class Sink(Protocol):
    """The writing end of a transport. Nothing here blocks or raises.

    A sink that cannot write its data now keeps the data and calls ``paused()`` of its connection. It calls ``resumed()``
    when all of it is written. Between the two it gets no events, only answers. After :meth:`report_blocking` it also calls
    ``socket_full()`` as soon as the socket's buffer is full, and ``resumed()`` in that case too.
    """

    def send(self, data: str | bytes) -> None:
        """Write a message of the session."""

    def send_events(self, burst: Burst) -> None:
        """Write events, in the encoding of this connection."""

    def probe(self) -> bool:
        """Ping the client, and call ``show_life()`` of the connection when it answers. Return ``False`` if this transport
        cannot ping, or does not see the answer."""

    def report_blocking(self) -> None:
        """From now on call the connection's ``socket_full()`` as well. This costs one more system call for each write."""

    def close(self, code: int, reason: str) -> None:
        """Close after everything that was sent."""


class ClosedSink:
    """The sink of a closed connection. It drops its input, and holds no transport."""

    __slots__ = ()

    def send(self, data: str | bytes) -> None:
        pass

    def send_events(self, burst: Burst) -> None:
        pass

    def probe(self) -> bool:
        return False

    def report_blocking(self) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        pass


CLOSED = ClosedSink()
