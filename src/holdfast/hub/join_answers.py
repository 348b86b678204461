"""Answers to joins: a client goes on from its position, if the log still can, or begins with the topic's state."""

from collections.abc import Awaitable, Callable

import msgspec

from holdfast.log.base import LogUnavailable, Trimmed
from holdfast.protocol.frames import JoinedPayload
from holdfast.protocol.positions import Position
from holdfast.streams.log_follower import LogFollower
from holdfast.streams.stream import Stream

from .snapshots import Snapshot, Snapshots

SNAPSHOT_TRIES = 5

Charge = Callable[[], Awaitable[None]]
"""Called before something is read for a join, so that the caller can limit how often. An exception ends the join."""


async def free() -> None:
    """Charge nothing."""


class JoinAnswers:
    """Finds the answers to the joins of one hub."""

    def __init__(self, follower: LogFollower, snapshots: Snapshots) -> None:
        self._follower = follower
        self._snapshots = snapshots

    async def answer(
        self, stream: Stream, since: Position | None, snapshot: Snapshot | None, charge: Charge = free
    ) -> tuple[JoinedPayload, tuple[int, int]]:
        """Return the answer to a joining client, and the offset (with its stamp) after which its events begin. Nothing is
        awaited after the answer is known, so it still holds when the caller subscribes in the same turn of the loop.
        ``charge`` is called before each read that this join alone causes."""
        if since is not None and stream.durable and await self._can_follow(stream, since, charge):
            head = since if since.offset > stream.offset else stream.position
            payload = JoinedPayload(epoch=head.epoch, offset=head.offset, stamp=head.stamp, recovered=True)
            return payload, (since.offset, since.stamp)
        recovered = None if since is None else False
        position, state = (None, None) if snapshot is None else await self._snapshot(stream, snapshot, charge)
        taken = msgspec.UNSET if state is None else msgspec.Raw(state)
        if not stream.durable:
            return JoinedPayload(recovered=recovered, snapshot=taken), (0, 0)
        position = position or stream.position
        payload = JoinedPayload(
            epoch=position.epoch,
            offset=position.offset,
            stamp=position.stamp,
            recovered=recovered,
            snapshot=taken,
        )
        return payload, (position.offset, position.stamp)

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
