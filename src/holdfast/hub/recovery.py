"""Where a client that joins begins: at its position, if the log can go on from there, or with the topic's state."""

from collections.abc import Awaitable, Callable

import msgspec

from holdfast.log.base import LogUnavailable, Trimmed
from holdfast.protocol.frames import JoinedPayload
from holdfast.protocol.positions import Position

from .order import Order
from .stream import Stream

SNAPSHOT_TRIES = 5

Snapshot = Callable[[], Awaitable[tuple[Position | None, bytes]]]
"""Takes a topic's state (JSON text) and the position that it agrees with, if the topic has a log."""


class Recovery:
    """Answers the joins of one hub."""

    def __init__(self, order: Order) -> None:
        self._order = order

    async def answer(
        self, stream: Stream, since: Position | None, snapshot: Snapshot | None
    ) -> tuple[JoinedPayload, tuple[int, int]]:
        """What a joining client is told, and the offset (with its stamp) after which it is served. Nothing is awaited
        after the answer is known, so that it still holds when the subscription is made."""
        if since is not None and stream.durable and await self._can_follow(stream, since):
            head = since if since.offset > stream.offset else stream.position
            payload = JoinedPayload(epoch=head.epoch, offset=head.offset, stamp=head.stamp, recovered=True)
            return payload, (since.offset, since.stamp)
        recovered = None if since is None else False
        position, state = (None, None) if snapshot is None else await self._snapshot(stream, snapshot)
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

    async def _snapshot(self, stream: Stream, snapshot: Snapshot) -> tuple[Position | None, bytes]:
        """The topic's state, and its position in the log that the stream follows."""
        for _ in range(SNAPSHOT_TRIES):
            asked = stream.mark
            position, state = await snapshot()
            if position is None:
                return None, state
            if position.epoch == stream.epoch and (
                position.offset >= asked.offset or stream.generation != asked.generation
            ):
                return position, state
            await self._order.examine(stream)  # one of the two knows an older log
        raise LogUnavailable(f"the log of topic {stream.name!r} is rebuilt all the time")

    async def _can_follow(self, stream: Stream, since: Position) -> bool:
        """Is everything after ``since`` still there? Reads the log only when memory cannot tell.

        A client's word may make this process look, but it never makes the log change its epoch: that is decided by
        what this process itself has passed on.
        """
        if since.epoch != stream.epoch or since.offset > stream.offset or _other(stream, since):
            if _other(stream, since):
                stream.doubted = stream.position
            await self._order.examine(stream)  # the client may know more than this process
            ahead = since.offset > max(stream.wanted, stream.offset)
            if since.epoch != stream.epoch or ahead or _other(stream, since):
                return False
        if since.offset == stream.offset or (since.offset > stream.offset and not since.stamp):
            return True
        try:
            page = await self._order.replay.page(stream, since.offset, since.stamp)
        except Trimmed:
            return False
        if not page and since.offset < stream.offset:
            stream.doubted = (
                stream.position
            )  # the log ended before what was passed on, whatever has come since
            await self._order.examine(stream)
        return (bool(page) or since.offset >= stream.offset) and since.epoch == stream.epoch


def _other(stream: Stream, position: Position) -> bool:
    """Was another entry than this position's passed on at its offset?"""
    return stream.contradicts(position.offset, position.stamp)
