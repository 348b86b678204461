"""Trimming: removes the oldest entries, a few at a time.

Trimming locks no topic, so it neither delays nor diverts numbering. A topic's log starts where its entries start, and the head
stays in the topic's row when no entry is left.

The newest of the trimmed entries stays as an empty one, without a name. It keeps the time of writing (its stamp), so a position
there can still be distinguished from one in a log that went back in time.
"""

from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .conflicts import settled
from .dialects import Dialect
from .rows import moment
from .tables import CHUNK, ENTRY, TOPIC


def expendable(
    connection: BaseDatabaseWrapper, topic: str, before: datetime | None, count: int | None
) -> int:
    """Return how many entries :func:`trim` would remove."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, head FROM {TOPIC} WHERE name = %s", (topic,))
        if (row := cursor.fetchone()) is None:
            return 0
        topic_id, head = row
        surplus = 0 if count is None else head - count
        cursor.execute(
            f'SELECT min("offset") FROM {ENTRY} WHERE topic_id = %s AND name <> \'\' AND "offset" > %s'
            f"{' AND created_at >= %s' if before else ''}",
            [topic_id, surplus, *([moment(connection, before)] if before else [])],
        )
        (stays,) = cursor.fetchone()
        if before is None and count is None:
            return 0
        cursor.execute(
            f"SELECT count(*) FROM {ENTRY} WHERE topic_id = %s AND name <> '' AND \"offset\" < %s",
            (topic_id, head + 1 if stays is None else stays),
        )
        found: int = cursor.fetchone()[0]
    return found


def trim(
    connection: BaseDatabaseWrapper, dialect: Dialect, topic: str, before: datetime | None, count: int | None
) -> int:
    gone = 0
    while True:
        some = settled(connection, dialect, partial(_trim_some, connection, topic, before, count))
        gone += some
        if some < CHUNK:
            return gone


def _trim_some(
    connection: BaseDatabaseWrapper, topic: str, before: datetime | None, count: int | None
) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, head FROM {TOPIC} WHERE name = %s", (topic,))
        row = cursor.fetchone()
    if row is None:
        return 0
    topic_id, head = row
    offsets = oldest(connection, topic_id, 0 if count is None else head - count, before)
    if offsets:
        place = (topic_id, offsets[-1])
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f'DELETE FROM {ENTRY} WHERE topic_id = %s AND "offset" < %s', place)
            cursor.execute(
                f"UPDATE {ENTRY} SET name = '', payload = '', exclude = ''"
                ' WHERE topic_id = %s AND "offset" = %s',
                place,
            )
    return len(offsets)


def oldest(
    connection: BaseDatabaseWrapper, topic_id: int, surplus: int, before: datetime | None
) -> list[int]:
    """The offsets at the start of the log that are to go: up to ``surplus``, and those before a time.

    Up to the first that is to stay, even if a clock was wrong and a later one looks older: what is kept has no hole.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT "offset", "offset" <= %s{" OR created_at < %s" if before else ""} FROM {ENTRY}'
            f" WHERE topic_id = %s AND name <> '' ORDER BY \"offset\" LIMIT {CHUNK}",
            [surplus, *([moment(connection, before)] if before else []), topic_id],
        )
        offsets = []
        for offset, goes in cursor.fetchall():
            if not goes:
                break
            offsets.append(offset)
    return offsets
