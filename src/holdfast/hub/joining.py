"""The second step of a join: a topic that is open and resolved for a client, and not yet subscribed to."""

from holdfast.protocol.frames import JoinedPayload
from holdfast.roster.local import Attendance
from holdfast.roster.tracker import PresenceTracker
from holdfast.streams.log_follower import LogFollower
from holdfast.streams.stream import Stream, Subscription
from holdfast.streams.subscriber import Subscriber


class PendingJoin:
    """A join that is decided, except for the subscription. Made by :meth:`holdfast.hub.hub.Hub.begin_join`.

    ``payload`` is the answer to the client. It holds until the event loop turns. The caller sends it and then calls
    :meth:`subscribe`, or drops this object, without awaiting anything in between.
    """

    __slots__ = ("_attending", "_follower", "_presence", "_start", "_stream", "payload")

    def __init__(
        self,
        stream: Stream,
        payload: JoinedPayload,
        start: tuple[int, int],
        attending: Attendance | None,
        *,
        follower: LogFollower,
        presence: PresenceTracker,
    ) -> None:
        self.payload = payload
        self._stream = stream
        self._start = start
        self._attending = attending
        self._follower = follower
        self._presence = presence

    @property
    def topic(self) -> str:
        """The name of the topic: the one string that all subscriptions to it share."""
        return self._stream.name

    def subscribe(self, subscriber: Subscriber) -> Subscription:
        """Subscribe ``subscriber``. It gets the events after the client's position, and then live ones."""
        subscription = Subscription(self._stream, subscriber, *self._start)
        self._stream.add(subscription)
        if self._stream.durable:
            self._follower.advance(subscription)
        else:
            self._stream.go_live(subscription)
        if self._attending is not None:
            self._presence.enter(subscription, self._attending)
        return subscription
