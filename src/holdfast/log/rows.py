"""Parameters for rows, and the inserts that are the same on every database."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from .epochs import first_epoch, new_epoch, new_seed
from .tables import ROWS, SEED, TOPIC

logger = logging.getLogger("holdfast.log")


def seed_of(connection: BaseDatabaseWrapper) -> str:
    """Return the log's seed. The migration stores one; it is stored again where the table was emptied."""
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute(f"SELECT seed FROM {SEED} WHERE id = 1")
            if row := cursor.fetchone():
                seed: str = row[0]
                return seed
            cursor.execute(
                f"INSERT INTO {SEED} (id, seed) VALUES (1, %s) ON CONFLICT (id) DO NOTHING", (new_seed(),)
            )
        cursor.execute(f"SELECT seed FROM {SEED} WHERE id = 1")
        (seed,) = cursor.fetchone()
        return seed


def renew_seed(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {SEED} (id, seed) VALUES (1, %s) ON CONFLICT (id) DO UPDATE SET seed = excluded.seed",
            (new_seed(),),
        )


def epoch_before_first(connection: BaseDatabaseWrapper, topic: str) -> str:
    """Return the epoch of a topic without a row."""
    return first_epoch(seed_of(connection), topic)


def replace_epoch(connection: BaseDatabaseWrapper, topic: str, epoch: str) -> None:
    """Give the topic another epoch, if ``epoch`` is still its own. A topic without a row gets one, with the other epoch."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TOPIC} AS t (name, epoch, head, created_at) VALUES (%s, %s, 0, %s)"
            " ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch WHERE t.epoch = %s",
            (topic, new_epoch(), now(connection), epoch),
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
