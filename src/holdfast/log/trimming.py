"""Removing the oldest entries, a few at a time.

No topic is locked for it, so nobody's numbering waits or is passed by: a topic's log starts where its entries start,
and its head stays in the topic's row when none is left.
"""

from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from .rows import moment
from .tables import CHUNK, ENTRY, TOPIC


def trim(connection: BaseDatabaseWrapper, topic: str, before: datetime | None, count: int | None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, head FROM {TOPIC} WHERE name = %s", (topic,))
        row = cursor.fetchone()
    if row is None:
        return 0
    topic_id, head = row
    surplus = 0 if count is None else head - count
    gone = 0
    while offsets := oldest(connection, topic_id, surplus, before):
        with connection.cursor() as cursor:
            cursor.execute(
                f'DELETE FROM {ENTRY} WHERE topic_id = %s AND "offset" <= %s', (topic_id, offsets[-1])
            )
            gone += cursor.rowcount
        if len(offsets) < CHUNK:
            break
    return gone


def oldest(
    connection: BaseDatabaseWrapper, topic_id: int, surplus: int, before: datetime | None
) -> list[int]:
    """The offsets at the start of the log that are to go: up to ``surplus``, and those before a time.

    Up to the first that is to stay, even if a clock was wrong and a later one looks older: what is kept has no hole.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT "offset", "offset" <= %s{" OR created_at < %s" if before else ""} FROM {ENTRY}'
            f' WHERE topic_id = %s ORDER BY "offset" LIMIT {CHUNK}',
            [surplus, *([moment(connection, before)] if before else []), topic_id],
        )
        offsets = []
        for offset, goes in cursor.fetchall():
            if not goes:
                break
            offsets.append(offset)
    return offsets
