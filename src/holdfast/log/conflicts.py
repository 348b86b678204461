"""Retries after conflicts between transactions.

Under REPEATABLE READ or SERIALIZABLE the second of two transactions that change one row gets an error, and has to start
again. Each statement of the log outside the caller's transaction is a whole transaction, so the log can retry it. Inside
the caller's transaction only the caller can start again.
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
"""Retries of one statement."""

_chance = random.Random()  # noqa: S311 - it only spreads the tries


def settled(connection: BaseDatabaseWrapper, dialect: Dialect, attempt: Callable[[], T]) -> T:
    """Call ``attempt`` until it meets no conflict. Random pauses keep it out of step with the transactions in conflict."""
    for tried in range(CONFLICTS):
        try:
            return attempt()
        except DatabaseError as error:
            if connection.in_atomic_block or not dialect.conflict(error):
                raise
        time.sleep(_chance.uniform(0, min(0.05, 0.001 * 2**tried)))
    return attempt()
