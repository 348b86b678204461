"""Transactions that end badly, and what came of those that did not."""

import contextlib
import time
from collections.abc import Iterator

from django.db import connections, transaction

from holdfast.log.base import Batch


class Reports:
    """What ``committed`` was called with."""

    def __init__(self) -> None:
        self.calls: list[list[Batch]] = []

    def __call__(self, batches: list[Batch]) -> None:
        self.calls.append(batches)

    @property
    def offsets(self) -> list[int]:
        return [entry.offset for batches in self.calls for batch in batches for entry in batch.entries]


class Rollback(Exception):
    """Ends a transaction that is not to be."""


@contextlib.contextmanager
def rolled_back(alias: str) -> Iterator[None]:
    """A transaction, or a savepoint, that rolls back at its end."""
    try:
        with transaction.atomic(using=alias):
            yield
            raise Rollback
    except Rollback:
        pass


def a_transaction_waits(alias: str) -> None:
    """Return as soon as a transaction waits for another one's lock, on PostgreSQL."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.005)
    raise AssertionError("nothing waits")
