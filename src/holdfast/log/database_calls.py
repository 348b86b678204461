"""Calls that are carried out once: their keys and answers, beside the log and in the same transactions."""

from datetime import datetime, timedelta
from functools import partial

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .base import Answer, Claim, LogError
from .conflicts import settled
from .dialects import Dialect
from .rows import moment, now
from .tables import CALL, CHUNK

TRIES = 5
"""How often a claim looks again when the row that stood in its way is gone when it wants to read it."""


def claim(connection: BaseDatabaseWrapper, owner: str, key: str, target: str, seconds: float) -> Claim:
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
            cursor.execute(
                f'SELECT target, answer, failed, expires_at <= %s FROM {CALL} WHERE owner = %s AND "key" = %s',
                (now(connection), owner, key),
            )
            if row := cursor.fetchone():
                return found(*row, wanted=target)
    return Claim(running=True)


def found(target: str, answer: str | None, failed: bool, expired: bool, *, wanted: str) -> Claim:
    """What an earlier attempt's row says."""
    if target != wanted:
        return Claim(reused=True)
    if answer is not None:
        return Claim(answer=Answer(payload=answer.encode(), failed=bool(failed)))
    return Claim(lost=True) if expired else Claim(running=True)


def answer(connection: BaseDatabaseWrapper, owner: str, key: str, given: Answer) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE {CALL} SET answer = %s, failed = %s WHERE owner = %s AND "key" = %s',
            (given.payload.decode(), given.failed, owner, key),
        )
        if cursor.rowcount != 1:
            raise LogError(f"the call {key!r} of {owner!r} cannot be answered: it is not claimed")


def release(connection: BaseDatabaseWrapper, owner: str, key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'DELETE FROM {CALL} WHERE owner = %s AND "key" = %s AND answer IS NULL', (owner, key))


def forget(connection: BaseDatabaseWrapper, dialect: Dialect, before: datetime) -> int:
    gone = 0
    while True:
        some = settled(connection, dialect, partial(_forget_some, connection, before))
        gone += some
        if some < CHUNK:
            return gone


def _forget_some(connection: BaseDatabaseWrapper, before: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {CALL} WHERE id IN (SELECT id FROM {CALL} WHERE created_at < %s"
            f" AND (answer IS NOT NULL OR expires_at <= %s) ORDER BY created_at LIMIT {CHUNK})",
            (moment(connection, before), now(connection)),
        )
        some: int = cursor.rowcount
    return some
