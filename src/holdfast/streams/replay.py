"""Replay: bringing one subscription from where it stands to where its stream is, out of memory.

A client that joins with a position and a client that was too slow are the same case: a subscription whose offset is below
its stream's. No subscription owns a task for this. It advances when it joins, when a page that it waited for arrives, and
when its connection can be written to again. As soon as it stands where the stream stands it is live, in the same turn of
the loop, so nothing can be missed or repeated in between.

The functions here only write. What else a subscription needs they return, for the stream's :class:`LogFollower
<holdfast.streams.log_follower.LogFollower>` to do.
"""

from enum import Enum

from .prepared import Prepared
from .stream import CHUNK_BYTES, Subscription


class Needs(Enum):
    """What a subscription needs before it can go on."""

    NOTHING = "nothing"  # it is live, or has ended, or its subscriber is not ready
    A_TURN = "a turn"  # there is more at hand, for the next turn of the loop
    A_PAGE = "a page"  # the log has to be read
    THE_STREAM = "the stream"  # it is ahead of the stream, which has to move
    AN_EXAMINATION = "an examination"  # it was served another entry than the stream's at the same offset


def advance(subscription: Subscription) -> Needs:
    """Write what is at hand, up to the stream's offset, and go live there."""
    stream = subscription.stream
    if subscription.live or subscription.ended or not subscription.subscriber.ready:
        return Needs.NOTHING
    if subscription.offset == stream.offset:
        if stream.contradicts(subscription.offset, subscription.stamp):
            return Needs.AN_EXAMINATION
        stream.go_live(subscription)
        return Needs.NOTHING
    if subscription.offset > stream.offset:
        return Needs.THE_STREAM
    page = stream.recent.after(subscription.offset, subscription.stamp)
    return write_page(subscription, page) if page else Needs.A_PAGE


def write_page(subscription: Subscription, page: list[Prepared]) -> Needs:
    """Write the beginning of a page, about :data:`CHUNK_BYTES`, so that a long replay does not keep others waiting."""
    stream, subscriber, limit = subscription.stream, subscription.subscriber, subscription.stream.offset
    if not subscriber.ready:
        return Needs.NOTHING
    size, upto = 0, 0
    for event in page:
        offset = event.offset
        assert offset is not None
        if offset > limit or size > CHUNK_BYTES:
            break
        size += len(event.payload)
        upto += 1
    burst = stream.recent.burst(page[:upto])
    stream.counters.events_delivered += upto
    try:
        if any(event.exclude == subscriber.client for event in burst.events if event.exclude):
            subscription.write(burst.without(subscriber.client))
        else:
            subscriber.write(burst)
    except Exception as error:  # noqa: BLE001 - it is handed on
        subscription.fail(burst, error)
        return Needs.NOTHING
    last = burst.events[-1].offset
    assert last is not None
    subscription.offset, subscription.stamp = last, burst.events[-1].stamp
    return advance(subscription) if subscription.offset == limit else Needs.A_TURN
