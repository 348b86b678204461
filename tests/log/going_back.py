"""A topic's log as it was before: the state after a backup is restored, or when a replica without the last commits takes over."""

from functools import singledispatch
from typing import Any

from django.db import connections

from holdfast.log.base import Log
from holdfast.log.database import DatabaseLog
from holdfast.log.memory import MemoryLog
from holdfast.log.redis import RedisLog
from holdfast.log.tables import ENTRY, TOPIC


@singledispatch
def go_back(log: Log, topic: str, offset: int) -> None:
    """Remove the entries after ``offset`` as if they had never been written. The epoch stays the same."""
    raise NotImplementedError(f"go_back has no implementation for {type(log).__name__}")


@go_back.register
def _(log: MemoryLog, topic: str, offset: int) -> None:
    stream = log._streams[topic]
    kept = offset - stream.state().floor
    del stream.entries[kept:], stream.times[kept:]
    stream.head = offset


@go_back.register
def _(log: DatabaseLog, topic: str, offset: int) -> None:
    with connections[log.alias].cursor() as cursor:
        cursor.execute(f"SELECT id FROM {TOPIC} WHERE name = %s", (topic,))
        (topic_id,) = cursor.fetchone()
        cursor.execute(f'DELETE FROM {ENTRY} WHERE topic_id = %s AND "offset" > %s', (topic_id, offset))
        cursor.execute(f"UPDATE {TOPIC} SET head = %s WHERE id = %s", (offset, topic_id))


@go_back.register
def _(log: RedisLog, topic: str, offset: int) -> None:
    client: Any = log._store.client()
    state, entries = log._keys(topic)
    kept = client.xrange(entries, "-", f"{offset}-0")
    client.delete(entries)
    for place, fields in kept:
        client.xadd(entries, fields, id=place)
    written = kept[-1][1][b"t"] if kept else client.hget(state, "floor_at")
    client.hset(state, mapping={"head": offset, "head_at": written})
