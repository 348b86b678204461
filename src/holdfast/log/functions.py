"""The log's functions in PostgreSQL.

They are there for speed: one round trip, and plans that are kept, cost a third of what the same statements cost sent
one by one, also through a connection pooler. Each statement in them sees what was committed when it began (READ
COMMITTED), so what is looked for after a lock was taken was looked for with the lock.

A topic's row is its lock. Nobody waits for it: who does not get it passes by (``SKIP LOCKED``).
"""

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .routing import refusing_router
from .tables import CHUNK, ENTRY, OUTBOX, TOPIC

_PLACING = f"""
    present := clock_timestamp();
    SELECT id, epoch, head INTO _id, epoch, head FROM {TOPIC} WHERE name = _topic FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND OR EXISTS (SELECT FROM {OUTBOX} WHERE topic = _topic) THEN
        epoch := NULL;
        INSERT INTO {OUTBOX} (topic, name, payload, exclude, created_at)
        SELECT _topic, event, payload, exclude, clock_timestamp()
        FROM unnest(_names, _payloads, _excludes) WITH ORDINALITY AS draft (event, payload, exclude, place)
        ORDER BY place;
    ELSE
        SELECT created_at INTO before FROM {ENTRY} WHERE topic_id = _id AND "offset" = head;
        IF cardinality(_names) = 1 THEN  -- the ordinary case, and the cheaper plan
            INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at)
            VALUES (_id, head + 1, _names[1], _payloads[1], _excludes[1], present);
        ELSE
            INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at)
            SELECT _id, head + place, event, payload, exclude, present
            FROM unnest(_names, _payloads, _excludes) WITH ORDINALITY AS draft (event, payload, exclude, place);
        END IF;
        UPDATE {TOPIC} SET head = head + cardinality(_names) WHERE id = _id;
    END IF;
"""
"""Write events as the topic's next entries: ``epoch`` is then its epoch, ``head`` the head before them, ``before`` when that was
written, and ``present`` when they were. Into the outbox instead, with no ``epoch``, if somebody else has the lock, or if
others wait there: what the same caller wrote before is first."""

PLACE = f"""
CREATE OR REPLACE FUNCTION holdfast_place(_topic text, _names text[], _payloads text[], _excludes text[])
RETURNS TABLE (epoch text, head bigint, before timestamptz, present timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
-- As a part of the caller's transaction. No row is returned if the events went into the outbox.
DECLARE
    _id bigint;
BEGIN
    {_PLACING}
    IF epoch IS NOT NULL THEN
        RETURN NEXT;
    END IF;
END $$
"""

APPEND = f"""
CREATE OR REPLACE PROCEDURE holdfast_append(
    _topic text, _names text[], _payloads text[], _excludes text[],
    INOUT epoch text, INOUT head bigint, INOUT before timestamptz, INOUT present timestamptz, INOUT waiting boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
-- In a transaction of its own. After the commit, which gave the lock back, it says whether others came meanwhile and wait.
DECLARE
    _id bigint;
BEGIN
    {_PLACING}
    COMMIT;
    BEGIN
        waiting := EXISTS (SELECT FROM {OUTBOX} WHERE topic = _topic);
    EXCEPTION WHEN OTHERS THEN  -- the events are durable: that must not be reported as a failure
        waiting := true;
    END;
END $$
"""

MOVE = f"""
CREATE OR REPLACE FUNCTION holdfast_move(_topic text)
RETURNS TABLE (
    state text, epoch text, before timestamptz, present timestamptz, "offset" bigint, name text, payload text, exclude text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
-- Give the oldest of a topic's waiting entries their offsets, and return them, with when the one before them was written
-- and when they were. No row: none waits. One row with the state 'busy': somebody else has the lock; 'unknown': there is
-- no such topic.
DECLARE
    _present timestamptz := clock_timestamp();
    _before timestamptz;
    _id bigint;
    _epoch text;
    _head bigint;
    _count bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM {OUTBOX} WHERE topic = _topic) THEN
        RETURN;
    END IF;
    SELECT id, epoch, head INTO _id, _epoch, _head FROM {TOPIC} WHERE name = _topic FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN QUERY SELECT
            CASE WHEN EXISTS (SELECT FROM {TOPIC} WHERE name = _topic) THEN 'busy' ELSE 'unknown' END,
            NULL::text, NULL::timestamptz, NULL::timestamptz, NULL::bigint, NULL::text, NULL::text, NULL::text;
        RETURN;
    END IF;
    SELECT created_at INTO _before FROM {ENTRY} WHERE topic_id = _id AND "offset" = _head;
    RETURN QUERY
        WITH drained AS (
            DELETE FROM {OUTBOX}
            WHERE id = ANY (ARRAY(SELECT id FROM {OUTBOX} WHERE topic = _topic ORDER BY id LIMIT {CHUNK}))
            RETURNING id, name, payload, exclude
        ), numbered AS (
            SELECT _head + row_number() OVER (ORDER BY id) AS "offset", name, payload, exclude FROM drained
        ), placed AS (
            INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at)
            SELECT _id, "offset", name, payload, exclude, _present FROM numbered
        )
        SELECT 'moved', _epoch, _before, _present, "offset", name::text, payload, exclude::text
        FROM numbered ORDER BY "offset";
    GET DIAGNOSTICS _count = ROW_COUNT;
    UPDATE {TOPIC} SET head = _head + _count WHERE id = _id;
END $$
"""


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the functions, or bring them up to date; on other databases there are none."""
    if connection.vendor == "postgresql":
        remove(connection)  # what a function returns cannot be changed otherwise
        with connection.cursor() as cursor:
            cursor.execute(PLACE)
            cursor.execute(APPEND)
            cursor.execute(MOVE)


def complete(using: str, **_: object) -> None:
    """After ``migrate``: create the functions where no migration did, as in tests that run without migrations."""
    connection = connections[using]
    if connection.vendor == "postgresql" and refusing_router(using) is None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT to_regproc('holdfast_place') IS NULL OR to_regproc('holdfast_append') IS NULL"
                " OR to_regproc('holdfast_move') IS NULL"
            )
            missing: bool = cursor.fetchone()[0]
        if missing:
            install(connection)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the functions."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("DROP ROUTINE IF EXISTS holdfast_place, holdfast_append, holdfast_move")
