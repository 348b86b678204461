"""The interface through which the hub writes events to a connection."""

from collections.abc import Callable
from typing import Protocol

from holdfast.protocol.frames import ResetFrame

from .prepared import Burst, Prepared


class Subscriber(Protocol):
    """The writing end of one connection."""

    @property
    def client(self) -> str:
        """The client's id, which ``exclude`` names."""

    @property
    def ready(self) -> bool:
        """May events be written now? While this is false, events of a log are not buffered: the subscriptions remember where
        they stood. Other events wait within a bound (:mod:`holdfast.streams.slow`). The owner of the subscriber calls
        :meth:`Hub.resume` for each subscription when it is true again."""

    @property
    def blocked(self) -> bool:
        """Does the socket take nothing more right now? Then events that a newer one replaces (:meth:`Slow.conflate`) wait in the
        hub, where they can still be replaced, instead of in the subscriber's write buffer. The owner calls :meth:`Hub.resume`
        when it is false again."""

    def write(self, burst: Burst) -> None:
        """Write events, all of them. Never blocks; may make :attr:`ready` false. An exception ends the connection."""

    def write_reset(self, reset: ResetFrame) -> None:
        """Write a reset, ready or not."""

    def fail(self) -> None:
        """End the connection, because an event could not be written. The client comes back from its position."""

    def overflow(self) -> None:
        """End the connection, because more events wait than the topic allows."""


class ConvertingSubscriber:
    """A subscriber of one topic that converts events, such as to an older version, and passes them on to another subscriber.
    Everything else it passes on unchanged."""

    __slots__ = ("_convert", "_subscriber")

    def __init__(self, subscriber: Subscriber, convert: Callable[[Prepared], Prepared]) -> None:
        self._subscriber = subscriber
        self._convert = convert

    @property
    def client(self) -> str:
        return self._subscriber.client

    @property
    def ready(self) -> bool:
        return self._subscriber.ready

    @property
    def blocked(self) -> bool:
        return self._subscriber.blocked

    def write(self, burst: Burst) -> None:
        self._subscriber.write(burst.converted(self._convert))

    def write_reset(self, reset: ResetFrame) -> None:
        self._subscriber.write_reset(reset)

    def fail(self) -> None:
        self._subscriber.fail()

    def overflow(self) -> None:
        self._subscriber.overflow()

    def __repr__(self) -> str:
        return f"<ConvertingSubscriber {self._subscriber!r}>"
