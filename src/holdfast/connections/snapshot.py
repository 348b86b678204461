"""Snapshot of a topic's state, for a client that joins."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from holdfast.hub.snapshots import Snapshot, State
from holdfast.runtime import Runtime
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.declaration import Mode
from holdfast.topics.encoding import encode_returned
from holdfast.topics.topic import Topic


def snapshot_of(runtime: Runtime, topic: Topic, host: str | None = None) -> Snapshot | None:
    """Return the way to take the topic's state; ``None`` if the topic offers none. On a durable topic it also finds the position
    that agrees with the state. Nothing in it depends on the client, so joins share it."""
    mode = topic.declared.snapshot
    if mode is None:
        return None
    taker: Any = topic
    threads, info, what = (
        runtime.threads,
        HandlerInfo(host=host, topic=topic),
        f"{type(topic).__name__}.snapshot",
    )

    def take(begin: Callable[[], None]) -> bytes:
        begin()
        return encode_returned(what, taker.snapshot())

    async def with_position(begin: Callable[[], None]) -> State:
        taking = partial(take, begin)
        return await threads.handle(
            info, runtime.log.consistent_read, topic.name, taking, runtime.publisher.broadcast
        )

    async def without_position(begin: Callable[[], None]) -> State:
        if mode is not Mode.LOOP:
            return None, await threads.handle(info, take, begin)
        begin()
        asking = threads.handle_async(info, taker.snapshot)
        return None, encode_returned(
            what, await asyncio.get_running_loop().create_task(asking, context=threads.context())
        )

    return Snapshot(
        read=with_position if topic.declared.durable else without_position,
        key=host if threads.tells_hosts_apart else None,
    )
