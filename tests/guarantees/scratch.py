"""A table for the effects of transactions: the rows that an application would write beside its events."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

TABLE = "scratch_effect"


@contextmanager
def scratch_table(alias: str) -> Iterator[None]:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        cursor.execute(f"CREATE TABLE {TABLE} (value varchar(100) NOT NULL)")
    yield
    with connections[alias].cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")


def add_row(alias: str, value: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} (value) VALUES (%s)", [value])


def rows(alias: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT value FROM {TABLE} ORDER BY value")
        return [value for (value,) in cursor.fetchall()]
