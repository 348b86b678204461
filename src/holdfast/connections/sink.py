"""What a connection needs of a transport."""

from typing import Protocol

from holdfast.hub.prepared import Burst


class Sink(Protocol):
    """The writing end of a transport. Nothing here blocks or raises.

    A sink that cannot pass on what it is given keeps it, calls ``paused()`` of its connection, and ``resumed()`` when
    everything has gone. Between the two it is given no events, only answers.
    """

    def send(self, data: str | bytes) -> None:
        """Write a message of the session."""

    def send_events(self, burst: Burst) -> None:
        """Write events, in the form that this connection speaks."""

    def close(self, code: int, reason: str) -> None:
        """Close after everything that was sent."""


class Closed:
    """The sink of a connection that is gone. Drops what is written to it, and holds no transport."""

    __slots__ = ()

    def send(self, data: str | bytes) -> None:
        pass

    def send_events(self, burst: Burst) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        pass


CLOSED = Closed()
