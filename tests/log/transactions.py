"""Transactions that roll back, and reports of those that committed."""

import contextlib
import time
from collections.abc import Iterator

from django.db import connections, transaction

from holdfast.log.base import Batch


class Reports:
    """The arguments of the calls of ``committed``."""

    def __init__(self) -> None:
        self.calls: list[list[Batch]] = []

    def __call__(self, batches: list[Batch]) -> None:
        self.calls.append(batches)

    @property
    def offsets(self) -> list[int]:
        return [entry.offset for batches in self.calls for batch in batches for entry in batch.entries]


class Rollback(Exception):
    """Ends a transaction that must not commit."""


@contextlib.contextmanager
def rolled_back(alias: str) -> Iterator[None]:
    """Run a transaction, or a savepoint, that rolls back at its end."""
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
