"""Conflicts between transactions, and trying again.

Under REPEATABLE READ or SERIALIZABLE the second of two transactions that touch one row gets an error, and is meant to begin
again. Every statement of the log that runs outside the caller's transaction is a whole transaction, so it can. Inside
the caller's transaction only the caller can begin again.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from .dialects import Dialect

T = TypeVar("T")

CONFLICTS = 50
"""How often a statement is tried again."""

_chance = random.Random()  # noqa: S311 - it only spreads the tries


def settled(connection: BaseDatabaseWrapper, dialect: Dialect, attempt: Callable[[], T]) -> T:
    """Call ``attempt`` until it meets no conflict, out of step with those whom it was in conflict with."""
    for tried in range(CONFLICTS):
        try:
            return attempt()
        except DatabaseError as error:
            if connection.in_atomic_block or not dialect.conflict(error):
                raise
        time.sleep(_chance.uniform(0, min(0.05, 0.001 * 2**tried)))
    return attempt()
