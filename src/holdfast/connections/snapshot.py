"""How the hub gets a topic's state for somebody who joins."""

from typing import Any, cast

from holdfast.hub.admission import Snapshot
from holdfast.hub.runtime import Runtime
from holdfast.hub.surroundings import HandlerInfo
from holdfast.protocol.positions import Position
from holdfast.topics.declaration import Mode
from holdfast.topics.encoding import encode_returned
from holdfast.topics.topic import Topic


def snapshot_of(runtime: Runtime, topic: Topic, host: str | None = None) -> Snapshot | None:
    """What takes the topic's state, on a durable topic together with the position that agrees with it; ``None`` if the
    topic offers none."""
    mode, taker = topic.declared.snapshot, cast("Any", topic)
    threads, info, what = (
        runtime.threads,
        HandlerInfo(host=host, topic=topic),
        f"{type(topic).__name__}.snapshot",
    )

    def take() -> bytes:
        return encode_returned(what, taker.snapshot())

    async def with_position() -> tuple[Position | None, bytes]:
        return await threads.handle(
            info, runtime.log.consistent_read, topic.name, take, runtime.publisher.spread
        )

    async def without_position() -> tuple[Position | None, bytes]:
        if mode is Mode.LOOP:
            return None, encode_returned(what, await threads.handle_async(info, taker.snapshot))
        return None, await threads.handle(info, take)

    if mode is None:
        return None
    return with_position if topic.declared.durable else without_position
