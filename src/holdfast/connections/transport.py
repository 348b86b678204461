"""What a connection needs of a transport."""

from typing import Protocol

from holdfast.hub.prepared import Burst


class Sink(Protocol):
    """The writing end of a transport. Nothing here blocks or raises.

    A sink that cannot pass on what it is given keeps it, calls ``paused()`` of its connection, and ``resumed()`` when
    everything has gone. Between the two it is given no events, only answers. After :meth:`report_blocking` it also calls
    ``socket_full()`` as soon as the socket takes nothing more, and then too ``resumed()`` when everything has gone.
    """

    def send(self, data: str | bytes) -> None:
        """Write a message of the session."""

    def send_events(self, burst: Burst) -> None:
        """Write events, in the form that this connection speaks."""

    def probe(self) -> bool:
        """Have the transport ask the client for a sign of life, and pass its answer on to ``show_life()`` of the
        connection. ``False``: this transport cannot, or does not see the answer."""

    def report_blocking(self) -> None:
        """From now on call the connection's ``socket_full()`` as well. Costs a system call of its own for each write."""

    def close(self, code: int, reason: str) -> None:
        """Close after everything that was sent."""


class Closed:
    """The sink of a connection that is gone. Drops what is written to it, and holds no transport."""

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


CLOSED = Closed()
