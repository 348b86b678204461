"""Call records in Django's database, in the caller's own transaction: its effects and its answer commit together."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from .base import LogError
from .calls import RECORD_BYTES, Answer, CallStore, Claim
from .conflicts import settled
from .dialects import dialect_of
from .errors import ErrorTranslation
from .rows import moment, now
from .tables import CALL, CHUNK, ROWS

T = TypeVar("T")

TRIES = 5
"""Times that a claim looks again after the row that stood in its way was deleted before it could be read."""


class DatabaseCalls(CallStore):
    """Call records in the table of ``holdfast.models.CallRecord``, in the database ``alias``: SQLite or PostgreSQL."""

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self._dialect = dialect_of(alias)

    def conflict(self, error: BaseException) -> bool:
        return isinstance(error, DatabaseError) and self._dialect.conflict(error)

    def claim(self, owner: str, key: str, target: str, *, seconds: float) -> Claim:
        return self._run(_claim, owner, key, target, seconds)

    def find(self, owner: str, key: str, target: str) -> Claim | None:
        return self._run(_find, owner, key, target)

    def answer(self, owner: str, key: str, answer: Answer) -> None:
        self._run(_answer, owner, key, answer)

    def release(self, owner: str, key: str) -> None:
        self._run(_release, owner, key)

    def forget(self, before: datetime, *, since: datetime | None = None, owners: str = "") -> int:
        gone = 0
        while True:
            some = self._run(_forget_some, before, since, owners)
            gone += some
            if some < CHUNK:
                return gone

    def trim(self, owner: str, *, count: int, size: int, before: datetime) -> int:
        surplus = self._run(_surplus, owner, count, size, before)
        for at in range(0, len(surplus), ROWS):
            self._run(_remove, surplus[at : at + ROWS])
        return len(surplus)

    def _run(self, statement: Callable[..., T], *arguments: object) -> T:
        """Run a statement, and again if it meets a conflict outside the caller's transaction."""
        connection = connections[self.alias]
        with ErrorTranslation(connection):
            return settled(connection, self._dialect, partial(statement, connection, *arguments))


def _claim(connection: BaseDatabaseWrapper, owner: str, key: str, target: str, seconds: float) -> Claim:
    """The INSERT decides. On both databases it waits for a transaction that holds the same key, or everything."""
    present = timezone.now()
    made, ends = moment(connection, present), moment(connection, present + timedelta(seconds=seconds))
    with connection.cursor() as cursor:
        for _ in range(TRIES):
            cursor.execute(
                f'INSERT INTO {CALL} (owner, "key", target, failed, created_at, expires_at)'
                ' VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (owner, "key") DO NOTHING',
                (owner, key, target, False, made, ends),
            )
            if cursor.rowcount == 1:
                return Claim(mine=True)
            if (found := _look(connection, cursor, owner, key, target)) is not None:
                return found
    return Claim(running=True)


def _find(connection: BaseDatabaseWrapper, owner: str, key: str, target: str) -> Claim | None:
    with connection.cursor() as cursor:
        return _look(connection, cursor, owner, key, target)


def _look(
    connection: BaseDatabaseWrapper, cursor: CursorWrapper, owner: str, key: str, target: str
) -> Claim | None:
    """Read the row of an earlier attempt, if there is one."""
    cursor.execute(
        f'SELECT target, answer, failed, expires_at <= %s FROM {CALL} WHERE owner = %s AND "key" = %s',
        (now(connection), owner, key),
    )
    row = cursor.fetchone()
    return None if row is None else _found(*row, wanted=target)


def _found(target: str, answer: str | None, failed: bool, expired: bool, *, wanted: str) -> Claim:
    """What an earlier attempt's row says."""
    if target != wanted:
        return Claim(reused=True)
    if answer is not None:
        return Claim(answer=Answer(payload=answer.encode(), failed=bool(failed)))
    return Claim(lost=True) if expired else Claim(running=True)


def _answer(connection: BaseDatabaseWrapper, owner: str, key: str, given: Answer) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE {CALL} SET answer = %s, failed = %s WHERE owner = %s AND "key" = %s',
            (given.payload.decode(), given.failed, owner, key),
        )
        if cursor.rowcount != 1:
            raise LogError(f"the call {key!r} of {owner!r} cannot be answered: it is not claimed")


def _release(connection: BaseDatabaseWrapper, owner: str, key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'DELETE FROM {CALL} WHERE owner = %s AND "key" = %s AND answer IS NULL', (owner, key))


def _surplus(
    connection: BaseDatabaseWrapper, owner: str, count: int, size: int, before: datetime
) -> list[int]:
    """Return the ids of an owner's records that :meth:`DatabaseCalls.trim` removes. The index of the keys finds them."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, coalesce(length(answer), 0), created_at < %s AND (answer IS NOT NULL OR expires_at <= %s)"
            f" FROM {CALL} WHERE owner = %s ORDER BY created_at DESC, id DESC LIMIT {count + 10 * CHUNK}",
            (moment(connection, before), now(connection), owner),
        )
        surplus, number = [], 0
        for record, length, over in cursor.fetchall():
            number, size = number + 1, size - length - RECORD_BYTES
            if over and (number > count or size < 0):
                surplus.append(record)
    return surplus


def _remove(connection: BaseDatabaseWrapper, records: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {CALL} WHERE id IN ({', '.join(['%s'] * len(records))})", records)


def _forget_some(
    connection: BaseDatabaseWrapper, before: datetime, since: datetime | None, owners: str
) -> int:
    narrow, arguments = "", [moment(connection, before), now(connection)]
    if since is not None:
        narrow, arguments = f"{narrow} AND created_at >= %s", [*arguments, moment(connection, since)]
    if owners:
        narrow, arguments = f"{narrow} AND owner LIKE %s", [*arguments, f"{owners}%"]
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {CALL} WHERE id IN (SELECT id FROM {CALL} WHERE created_at < %s"
            f" AND (answer IS NOT NULL OR expires_at <= %s){narrow} ORDER BY created_at LIMIT {CHUNK})",
            arguments,
        )
        some: int = cursor.rowcount
    return some
