"""Snapshot of a topic's state, for a client that joins."""

from typing import Any

from holdfast.hub.join_answers import Snapshot
from holdfast.protocol.positions import Position
from holdfast.runtime import Runtime
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.declaration import Mode
from holdfast.topics.encoding import encode_returned
from holdfast.topics.topic import Topic


def snapshot_of(runtime: Runtime, topic: Topic, host: str | None = None) -> Snapshot | None:
    """Return the function that takes the topic's state; ``None`` if the topic offers none. On a durable topic the function
    also returns the position that agrees with the state."""
    mode = topic.declared.snapshot
    if mode is None:
        return None
    taker: Any = topic
    threads, info, what = (
        runtime.threads,
        HandlerInfo(host=host, topic=topic),
        f"{type(topic).__name__}.snapshot",
    )

    def take() -> bytes:
        return encode_returned(what, taker.snapshot())

    async def with_position() -> tuple[Position | None, bytes]:
        return await threads.handle(
            info, runtime.log.consistent_read, topic.name, take, runtime.publisher.broadcast
        )

    async def without_position() -> tuple[Position | None, bytes]:
        if mode is Mode.LOOP:
            return None, encode_returned(what, await threads.handle_async(info, taker.snapshot))
        return None, await threads.handle(info, take)

    return with_position if topic.declared.durable else without_position
