"""Functions of the log in PostgreSQL.

They exist for speed: one round trip, and plans that are kept, cost a third of what the same statements cost sent
one by one, also through a connection pooler. Each statement in them sees what was committed when it began (READ
COMMITTED), so what is looked for after a lock was taken was looked for with the lock.

A topic's row is its lock. No caller waits for it: one that does not get it skips the topic (``SKIP LOCKED``). A topic that has no
row gets one here. Two transactions that create the same topic wait for each other; those that create several do so in the
order of the names' code points, so they cannot deadlock.

The two functions for many topics set ``enable_seqscan`` to off: a plan that was made while the outbox was empty reads all of
it for each topic, and ten thousand topics would then read ten thousand rows each.
"""

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .routing import refusing_router
from .tables import CHUNK, ENTRY, OUTBOX, SEED, TOPIC


def _epoch_of(name: str) -> str:
    """SQL for the first epoch of a topic (:mod:`.epochs`). Without a seed no process has computed one: any epoch will do."""
    return (
        f"coalesce((SELECT left(encode(sha256(convert_to(seed || ':' || {name}, 'UTF8')), 'hex'), 8) FROM {SEED} WHERE id = 1),"
        " left(gen_random_uuid()::text, 8))"
    )


_PLACING = f"""
    present := clock_timestamp();
    SELECT id, epoch, head INTO _id, epoch, head FROM {TOPIC} WHERE name = _topic FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM {TOPIC} WHERE name = _topic) THEN
        INSERT INTO {TOPIC} (name, epoch, head, created_at) VALUES (_topic, {_epoch_of("_topic")}, 0, present)
        ON CONFLICT (name) DO NOTHING RETURNING id, epoch, head INTO _id, epoch, head;
    END IF;
    IF _id IS NULL OR EXISTS (SELECT FROM {OUTBOX} WHERE topic = _topic) THEN
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
"""Write events as the topic's next entries. ``epoch`` is then the topic's epoch, ``head`` the last offset before these events,
``before`` the time of the entry at ``head``, and ``present`` the time of these events. If another caller has the lock, or if
other entries wait in the outbox, the events go into the outbox and ``epoch`` is empty: entries that the same caller wrote
earlier come first."""

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
-- In a transaction of its own. After the commit, which released the lock, it reports whether other entries came in between and wait.
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
-- and when they were. No row: none waits. One row with the state 'busy': another transaction has the lock.
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
    IF NOT FOUND AND NOT EXISTS (SELECT FROM {TOPIC} WHERE name = _topic) THEN
        INSERT INTO {TOPIC} (name, epoch, head, created_at) VALUES (_topic, {_epoch_of("_topic")}, 0, _present)
        ON CONFLICT (name) DO NOTHING;
        -- Of two that created it the second waited for the first one's commit, and may have the lock now.
        SELECT id, epoch, head INTO _id, _epoch, _head FROM {TOPIC} WHERE name = _topic FOR NO KEY UPDATE SKIP LOCKED;
    END IF;
    IF _id IS NULL THEN
        RETURN QUERY SELECT 'busy', NULL::text, NULL::timestamptz, NULL::timestamptz, NULL::bigint, NULL::text, NULL::text,
            NULL::text;
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

_LOCK_ALL = f"""
    INSERT INTO {TOPIC} (name, epoch, head, created_at)
    SELECT wanted.name, {_epoch_of("wanted.name")}, 0, _present FROM unnest(_wanted) WITH ORDINALITY AS wanted (name, place)
    WHERE NOT EXISTS (SELECT FROM {TOPIC} t WHERE t.name = wanted.name) ORDER BY place
    ON CONFLICT (name) DO NOTHING;
    SELECT array_agg(name), array_agg(id), array_agg(epoch), array_agg(head) INTO _locked, _ids, _epochs, _heads
    FROM (
        SELECT name::text, id, epoch::text, head FROM {TOPIC} WHERE name = ANY (_wanted) FOR NO KEY UPDATE SKIP LOCKED
    ) AS locked;
"""
"""Create those of ``_wanted`` (sorted) that have no row, and lock those that no other transaction has locked."""

PLACE_MANY = f"""
CREATE OR REPLACE FUNCTION holdfast_place_many(_topics text[], _names text[], _payloads text[], _excludes text[])
RETURNS TABLE (topic text, epoch text, head bigint, before timestamptz, present timestamptz)
LANGUAGE plpgsql SET enable_seqscan TO off AS $$
#variable_conflict use_column
-- Write events of many topics, each topic's in its order, as holdfast_place does for one. One row for each topic whose events
-- got their offsets; those of the other topics went into the outbox.
DECLARE
    _present timestamptz := clock_timestamp();
    _wanted text[] := ARRAY(
        SELECT DISTINCT wanted.name COLLATE "C" AS name FROM unnest(_topics) AS wanted (name) ORDER BY name
    );
    _locked text[];
    _ids bigint[];
    _epochs text[];
    _heads bigint[];
BEGIN
    {_LOCK_ALL}
    SELECT array_agg(name), array_agg(id), array_agg(epoch), array_agg(head) INTO _locked, _ids, _epochs, _heads
    FROM unnest(_locked, _ids, _epochs, _heads) AS locked (name, id, epoch, head)
    WHERE NOT EXISTS (SELECT FROM {OUTBOX} o WHERE o.topic = locked.name);
    INSERT INTO {OUTBOX} (topic, name, payload, exclude, created_at)
    SELECT topic, event, payload, exclude, _present
    FROM unnest(_topics, _names, _payloads, _excludes) WITH ORDINALITY AS draft (topic, event, payload, exclude, place)
    WHERE NOT EXISTS (SELECT FROM unnest(_locked) AS locked (name) WHERE locked.name = draft.topic) ORDER BY place;
    RETURN QUERY
        SELECT locked.name, locked.epoch, locked.head,
            (SELECT created_at FROM {ENTRY} WHERE topic_id = locked.id AND "offset" = locked.head), _present
        FROM unnest(_locked, _ids, _epochs, _heads) AS locked (name, id, epoch, head);
    WITH placed AS (
        INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at)
        SELECT locked.id, locked.head + row_number() OVER (PARTITION BY locked.id ORDER BY place),
            event, payload, exclude, _present
        FROM unnest(_topics, _names, _payloads, _excludes) WITH ORDINALITY AS draft (topic, event, payload, exclude, place)
        JOIN unnest(_locked, _ids, _heads) AS locked (name, id, head) ON locked.name = draft.topic
        RETURNING topic_id
    )
    UPDATE {TOPIC} SET head = head + grown.count
    FROM (SELECT topic_id, count(*) FROM placed GROUP BY topic_id) AS grown WHERE id = grown.topic_id;
END $$
"""

MOVE_MANY = f"""
CREATE OR REPLACE FUNCTION holdfast_move_many(_topics text[])
RETURNS TABLE (
    topic text, epoch text, before timestamptz, present timestamptz, "offset" bigint, name text, payload text, exclude text
) LANGUAGE plpgsql SET enable_seqscan TO off AS $$
#variable_conflict use_column
-- As holdfast_move, for many topics: the entries that got their offsets, topic by topic, {CHUNK} at most. Topics whose lock
-- another transaction has are passed by. No row: none waits, or only in such topics.
DECLARE
    _present timestamptz := clock_timestamp();
    _wanted text[] := ARRAY(
        SELECT wanted.name FROM unnest(_topics) AS wanted (name)
        WHERE EXISTS (SELECT FROM {OUTBOX} o WHERE o.topic = wanted.name) ORDER BY wanted.name COLLATE "C" LIMIT {CHUNK}
    );
    _locked text[];
    _ids bigint[];
    _epochs text[];
    _heads bigint[];
BEGIN
    IF cardinality(_wanted) = 0 THEN
        RETURN;
    END IF;
    {_LOCK_ALL}
    RETURN QUERY
        WITH locked AS (
            SELECT * FROM unnest(_locked, _ids, _epochs, _heads) AS locked (name, id, epoch, head)
        ), drained AS (
            DELETE FROM {OUTBOX} WHERE id = ANY (ARRAY(
                SELECT oldest.id FROM locked CROSS JOIN LATERAL (
                    SELECT o.id FROM {OUTBOX} o WHERE o.topic = locked.name ORDER BY o.id LIMIT {CHUNK}
                ) AS oldest LIMIT {CHUNK}
            ))
            RETURNING id, topic, name, payload, exclude
        ), numbered AS (
            SELECT locked.id AS topic_id, locked.name AS topic, locked.epoch, locked.head,
                locked.head + row_number() OVER (PARTITION BY locked.id ORDER BY drained.id) AS "offset",
                drained.name, drained.payload, drained.exclude
            FROM drained JOIN locked ON locked.name = drained.topic
        ), placed AS (
            INSERT INTO {ENTRY} (topic_id, "offset", name, payload, exclude, created_at)
            SELECT topic_id, "offset", name, payload, exclude, _present FROM numbered
        ), advanced AS (
            UPDATE {TOPIC} SET head = grown.head
            FROM (SELECT topic_id, max("offset") AS head FROM numbered GROUP BY topic_id) AS grown
            WHERE id = grown.topic_id
        )
        SELECT topic, epoch, (SELECT e.created_at FROM {ENTRY} e WHERE e.topic_id = numbered.topic_id AND e."offset" = head),
            _present, "offset", name::text, payload, exclude::text
        FROM numbered ORDER BY topic, "offset";
END $$
"""

_ROUTINES = {
    "holdfast_place": PLACE,
    "holdfast_append": APPEND,
    "holdfast_move": MOVE,
    "holdfast_place_many": PLACE_MANY,
    "holdfast_move_many": MOVE_MANY,
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the functions, or bring them up to date; on other databases there are none."""
    if connection.vendor == "postgresql":
        remove(connection)  # what a function returns cannot be changed otherwise
        with connection.cursor() as cursor:
            for definition in _ROUTINES.values():
                cursor.execute(definition)


def complete(using: str, **_: object) -> None:
    """After ``migrate``: create the functions where no migration did, as in tests that run without migrations."""
    connection = connections[using]
    if connection.vendor == "postgresql" and refusing_router(using) is None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT bool_or(to_regproc(name) IS NULL) FROM unnest(%s::text[]) AS name", (list(_ROUTINES),)
            )
            missing: bool = cursor.fetchone()[0]
        if missing:
            install(connection)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the functions."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP ROUTINE IF EXISTS {', '.join(_ROUTINES)}")
