"""Parameters for rows, and the inserts that are the same on every database."""

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from .tables import ROWS, TOPIC

logger = logging.getLogger("holdfast.log")


def create(connection: BaseDatabaseWrapper, topics: Sequence[str]) -> None:
    """Create the missing rows of ``topics``, each with a new epoch."""
    present = now(connection)
    with connection.cursor() as cursor:
        # Sorted: two that created the same rows in different orders would wait for each other.
        insert(
            cursor,
            f"INSERT INTO {TOPIC} (name, epoch, head, created_at) VALUES",
            [(topic, new_epoch(), 0, present) for topic in sorted(topics)],
            "ON CONFLICT (name) DO NOTHING",
        )


def new_epoch() -> str:
    return secrets.token_hex(4)


def replace_epoch(connection: BaseDatabaseWrapper, topic: str, epoch: str) -> None:
    """Give the topic another epoch, if ``epoch`` is still its own."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TOPIC} SET epoch = %s WHERE name = %s AND epoch = %s", (new_epoch(), topic, epoch)
        )
        if cursor.rowcount:
            logger.warning(
                "topic %r has a new epoch, because its log went back in time; its clients start again from the current state",
                topic,
            )


def insert(cursor: CursorWrapper, head: str, rows: Sequence[tuple[Any, ...]], tail: str = "") -> None:
    """Insert ``rows`` in their order, many with one statement."""
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        row = f"({', '.join(['%s'] * len(some[0]))})"
        cursor.execute(
            f"{head} {', '.join([row] * len(some))} {tail}", [value for row in some for value in row]
        )


def now(connection: BaseDatabaseWrapper) -> Any:
    """The present, as a parameter for the connection's cursor."""
    return moment(connection, timezone.now())


def moment(connection: BaseDatabaseWrapper, value: datetime) -> Any:
    """A time, aware or naive, as a parameter for the connection's cursor."""
    if settings.USE_TZ and timezone.is_naive(value):
        value = timezone.make_aware(value)
    elif not settings.USE_TZ and timezone.is_aware(value):
        value = timezone.make_naive(value)
    return connection.ops.adapt_datetimefield_value(value)
