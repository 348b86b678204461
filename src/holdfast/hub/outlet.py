"""What the hub sees of a connection."""

from typing import Protocol

from holdfast.protocol.frames import Reset

from .prepared import Burst


class Outlet(Protocol):
    """The writing end of one connection."""

    @property
    def client(self) -> str:
        """What ``exclude`` goes by."""

    ready: bool
    """May events be written now? Once this is false, events of a log are not buffered: the subscriptions remember where
    they stood; others wait within a bound (:mod:`holdfast.hub.slow`). Whoever owns the outlet calls :meth:`Hub.resume`
    for each subscription when it is true again."""

    blocked: bool
    """Does the socket take nothing more right now? Then events that a newer one replaces (:meth:`Slow.conflate`) wait in the
    hub, where they can still be replaced, instead of in the outlet's write buffer. The owner calls :meth:`Hub.resume` when
    it is false again."""

    def write(self, burst: Burst) -> None:
        """Write events, all of them. Never blocks; may make :attr:`ready` false. What it raises ends the connection."""

    def write_reset(self, reset: Reset) -> None:
        """Write a reset, ready or not."""

    def fail(self) -> None:
        """An event could not be written: end the connection, so that the client comes back from its position."""

    def stall(self) -> None:
        """More events wait than the topic lets wait for a client: end the connection."""
