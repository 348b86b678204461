"""The hub's side of a join: the answer to the client, and the place in the log where the client's events begin.

A client goes on from its own position, if the log still has every event after it, or begins with the topic's state as it is now.
A join has two steps. :meth:`Joins.begin` finds the answer, and may wait for the log, the presence store or a snapshot.
:meth:`PendingJoin.subscribe` follows in the turn of the event loop in which the first step ends.
"""

from collections.abc import Awaitable, Callable

import msgspec

from holdfast.log.base import LogUnavailable, Trimmed
from holdfast.protocol.frames import JoinedPayload
from holdfast.protocol.positions import Position
from holdfast.roster.local import Attendance
from holdfast.roster.tracker import PresenceTracker
from holdfast.streams.log_follower import LogFollower
from holdfast.streams.stream import Stream, Subscription
from holdfast.streams.subscriber import Subscriber

from .snapshots import Snapshot, Snapshots

SNAPSHOT_TRIES = 5

LIST_BYTES = 64 * 1024
"""Bytes of a list of members that cost a join as much as a read of the log."""

Charge = Callable[[], Awaitable[None]]
"""Called before something is read for a join, so that the caller can limit how often. An exception ends the join."""


async def free() -> None:
    """Charge nothing."""


class PendingJoin:
    """A join that is decided, except for the subscription. Made by :meth:`holdfast.hub.hub.Hub.begin_join`.

    ``payload`` is the answer to the client. ``position`` is the one after which the client's events begin; ``None`` on a topic
    without a log. Both hold until the event loop turns. The caller sends the answer and then calls :meth:`subscribe`, or drops
    this object, without awaiting anything in between.
    """

    __slots__ = ("_attending", "_follower", "_presence", "_stream", "payload", "position")

    def __init__(
        self,
        stream: Stream,
        payload: JoinedPayload,
        position: Position | None,
        attending: Attendance | None,
        *,
        follower: LogFollower,
        presence: PresenceTracker,
    ) -> None:
        self.payload = payload
        self.position = position
        self._stream = stream
        self._attending = attending
        self._follower = follower
        self._presence = presence

    @property
    def topic(self) -> str:
        """The name of the topic: the one string that all subscriptions to it share."""
        return self._stream.name

    def subscribe(self, subscriber: Subscriber) -> Subscription:
        """Subscribe ``subscriber``. It gets the events after :attr:`position`, and then live ones."""
        stream, position = self._stream, self.position
        offset, stamp = (0, 0) if position is None else (position.offset, position.stamp)
        subscription = Subscription(stream, subscriber, offset, stamp)
        stream.add(subscription)
        if position is None:
            stream.go_live(subscription)
        else:
            self._follower.advance(subscription)
        if self._attending is not None:
            self._presence.enter(subscription, self._attending)
        return subscription


class Joins:
    """The joins of one hub."""

    def __init__(self, follower: LogFollower, presence: PresenceTracker, snapshots: Snapshots) -> None:
        self._follower = follower
        self._presence = presence
        self._snapshots = snapshots

    async def begin(
        self,
        stream: Stream,
        since: Position | None,
        snapshot: Snapshot | None,
        attending: Attendance | None,
        charge: Charge,
    ) -> PendingJoin:
        """Find the answer to a join of ``stream``. The arguments are those of :meth:`holdfast.hub.hub.Hub.begin_join`."""
        topic = stream.name
        if attending is not None:
            await self._presence.visit(topic, attending.limit)
            for _ in range(self._presence.list_bytes(topic) // LIST_BYTES):
                await charge()
        payload, position = await self._answer(stream, since, snapshot, charge)
        # No await from here on: the answer holds for this turn of the loop.
        if stream.closed:
            raise LogUnavailable("the hub has stopped")
        if attending is not None:
            payload = self._presence.greet(topic, payload, attending)
        return PendingJoin(
            stream, payload, position, attending, follower=self._follower, presence=self._presence
        )

    async def _answer(
        self, stream: Stream, since: Position | None, snapshot: Snapshot | None, charge: Charge
    ) -> tuple[JoinedPayload, Position | None]:
        """Return the answer, without the members, and the position after which the client's events begin. Nothing is awaited
        after the answer is known."""
        if since is not None and stream.durable and await self._can_follow(stream, since, charge):
            head = since if since.offset > stream.offset else stream.position
            return JoinedPayload(
                epoch=head.epoch, offset=head.offset, stamp=head.stamp, recovered=True
            ), since
        recovered = None if since is None else False
        position, state = (None, None) if snapshot is None else await self._snapshot(stream, snapshot, charge)
        taken = msgspec.UNSET if state is None else msgspec.Raw(state)
        if not stream.durable:
            return JoinedPayload(recovered=recovered, snapshot=taken), None
        position = position or stream.position
        payload = JoinedPayload(
            epoch=position.epoch,
            offset=position.offset,
            stamp=position.stamp,
            recovered=recovered,
            snapshot=taken,
        )
        return payload, position

    async def _snapshot(
        self, stream: Stream, snapshot: Snapshot, charge: Charge
    ) -> tuple[Position | None, bytes]:
        """Return the topic's state, and its position in the log that the stream follows."""
        if not self._snapshots.at_hand(stream, snapshot):
            await charge()
        for _ in range(SNAPSHOT_TRIES):
            asked, position, state = await self._snapshots.take(stream, snapshot)
            if position is None:
                return None, state
            if position.epoch == stream.epoch and (
                position.offset >= asked.offset or stream.generation != asked.generation
            ):
                return position, state
            await self._follower.examine(stream)  # the stream or the snapshot is of an older log
        raise LogUnavailable(
            f"topic {stream.name!r}: the log's epoch changed during {SNAPSHOT_TRIES} snapshots in a row; try again later"
        )

    async def _can_follow(self, stream: Stream, since: Position, charge: Charge) -> bool:
        """Return whether all events after ``since`` still exist. Reads the log only when memory cannot decide.

        A client's position can make this process read the log. It never makes the log change its epoch: only the events
        that this process itself has emitted decide that.
        """
        if since.epoch != stream.epoch or since.offset > stream.offset or _other(stream, since):
            await charge()
            doubting = stream.position if _other(stream, since) else None
            # The client may know more than this process.
            await self._follower.examine(stream, doubting=doubting)
            ahead = since.offset > max(stream.progress.wanted, stream.offset)
            if since.epoch != stream.epoch or ahead or _other(stream, since):
                return False
        if since.offset == stream.offset or (since.offset > stream.offset and not since.stamp):
            return True
        if not self._follower.at_hand(stream, since.offset, since.stamp):
            await charge()
        try:
            page = await self._follower.page(stream, since.offset, since.stamp)
        except Trimmed:
            return False
        if not page and since.offset < stream.offset:
            # The log ended before what was emitted, whatever has come since.
            await self._follower.examine(stream, doubting=stream.position)
        return (bool(page) or since.offset >= stream.offset) and since.epoch == stream.epoch


def _other(stream: Stream, position: Position) -> bool:
    """Return whether another entry than this position's was emitted at its offset."""
    return stream.contradicts(position.offset, position.stamp)
