"""Announcements of the log in Redis: made in the step that writes the events, with the same messages as Python's."""

import struct
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.hub import messages
from holdfast.log.base import Batch, Draft, LogUnavailable
from holdfast.log.database_calls import DatabaseCalls
from holdfast.log.redis import RedisLog
from holdfast.redis.client import RedisStore
from tests.log.events import drafts, numbers
from tests.log.transactions import rolled_back
from tests.services.redis import RedisServer

HEADING = b"\x00head\xff"


def announce(topic: str) -> tuple[bytes, bytes, bytes]:
    return b"PUBLISH", f"told:{topic}".encode(), HEADING


class Wire:
    """All messages on the channels of :func:`announce`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._subscriber = client.pubsub(ignore_subscribe_messages=True)
        self._subscriber.psubscribe("told:*")
        self._subscriber.get_message(timeout=10)  # the confirmation

    def next(self) -> tuple[str, bytes]:
        while (found := self._subscriber.get_message(timeout=10)) is None:
            pass
        return found["channel"].decode().removeprefix("told:"), found["data"]

    def rest(self) -> list[tuple[str, bytes]]:
        """Return the messages published up to now."""
        self._client.publish("told:", b"now")
        found = []
        while (message := self.next()) != ("", b"now"):
            found.append(message)
        return found

    def close(self) -> None:
        self._subscriber.close()
        self._client.close()


@pytest.fixture
def wire(redis_url: str, redis_server: RedisServer) -> Iterator[Wire]:
    wire = Wire(redis_server.client())
    yield wire
    wire.close()


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    store = RedisStore(f"{redis_url}?timeout=30")  # for the largest batch on a busy machine
    yield RedisLog(store, calls=DatabaseCalls(), announce=announce)
    store.close()


def said(message: bytes) -> bytes:
    """The message in an envelope as the script sends it."""
    assert message.startswith(HEADING)
    (length,) = struct.unpack_from(">I", message, len(HEADING))
    body = message[len(HEADING) + 4 :]
    assert len(body) == length
    return body


def assert_told(message: tuple[str, bytes], batch: Batch) -> None:
    topic, content = message
    again = messages.decode(topic, said(content))
    assert batch.announced
    assert topic == batch.topic
    assert again == msgspec.structs.replace(batch, announced=False)


written = st.builds(
    lambda name, payload, exclude: (name, payload, exclude),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.binary(max_size=300),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=st.lists(written, min_size=1, max_size=20))
@example(events=[("n" * 31, b"x" * 31, "e" * 31), ("n" * 32, b"x" * 32, "e" * 32)])
@example(events=[("ü" * 127, b"x" * 255, ""), ("ü" * 128, b"x" * 256, "")])
@example(events=[("n" * 65_535, b"x" * 65_535, ""), ("n" * 65_536, b"x" * 65_536, "")])
@example(events=[("", "Grüße 🪸".encode(), "\x00"), ("12", b"", "12"), ("-0", b"\xff\x00\r\n", "1e5")])
def test_redis_says_what_python_would_say(
    log: RedisLog, wire: Wire, events: list[tuple[str, bytes, str]]
) -> None:
    topic = f"t/{uuid4().hex}"
    for _ in range(2):  # the second batch has something before it
        (batch,) = log.append([Draft(topic=topic, name=n, payload=p, exclude=x) for n, p, x in events])
        assert [(e.name, e.payload, e.exclude) for e in batch.entries] == events
        assert_told(wire.next(), batch)


@pytest.mark.parametrize("stamp", [0, 1, 127, 128, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("offset", [0, 126, 254, 65_534, 2**31 - 2, 2**32 - 2, 2**40])
def test_offsets_and_stamps_have_any_size(
    log: RedisLog, wire: Wire, topic: str, redis_server: RedisServer, offset: int, stamp: int
) -> None:
    state = {"epoch": "k3", "head": offset, "floor": offset, "floor_at": 0, "head_at": 7 * 2**32 + stamp}
    with redis_server.client() as client:
        client.hset(f"holdfast:log:{{{topic}}}", mapping=state)

    (batch,) = log.append(drafts(topic, 1, 2, 3))

    assert [entry.offset for entry in batch.entries] == [offset + 1, offset + 2, offset + 3]
    assert batch.before == stamp
    assert_told(wire.next(), batch)


def test_a_large_event_and_a_large_batch_are_one_message_each(log: RedisLog, wire: Wire, topic: str) -> None:
    for events in (
        [Draft(topic=topic, name="large", payload=bytes(range(256)) * 4096)],
        drafts(topic, *range(70_000)),
    ):
        (batch,) = log.append(events)
        (message,) = wire.rest()
        assert_told(message, batch)


def test_a_batch_over_several_topics_is_one_message_for_each(log: RedisLog, wire: Wire, topic: str) -> None:
    a, b = f"{topic}/a", f"{topic}/b{{}}%"

    batches = log.append([*drafts(a, 1), *drafts(b, 2), *drafts(a, 3)])

    messages = wire.rest()
    assert [name for name, _ in messages] == [a, b]
    for message, batch in zip(messages, batches, strict=True):
        assert_told(message, batch)


def test_entries_that_could_not_be_written_are_not_announced(
    log: RedisLog, wire: Wire, topic: str, redis_server: RedisServer
) -> None:
    log.append(drafts(topic, 1))
    wire.next()
    with redis_server.client() as client:
        used: Any = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used)
        try:
            with pytest.raises(LogUnavailable, match="OutOfMemory"):
                log.append([Draft(topic=topic, name="n", payload=b"x" * 1_000_000)])
        finally:
            client.config_set("maxmemory", 0)

    assert wire.rest() == []
    assert numbers(log, topic) == [1]


@pytest.mark.parametrize("denied", [{"commands": ["+@all", "-publish"]}, {"reset_channels": True}], ids=str)
def test_where_publishing_is_denied_the_events_are_written_but_not_announced(
    wire: Wire, topic: str, redis_server: RedisServer, denied: dict[str, Any]
) -> None:
    with redis_server.client() as client:
        rights = {"commands": ["+@all"], "keys": ["*"], **denied}
        client.acl_setuser("writer", enabled=True, passwords=["+secret"], **rights)
        store = RedisStore(f"redis://writer:secret@127.0.0.1:{redis_server.port}/0")
        log = RedisLog(store, calls=DatabaseCalls(), announce=announce)
        try:
            (batch,) = log.append(drafts(topic, 1))
            assert not batch.announced
            assert numbers(log, topic) == [1]
        finally:
            store.close()
            client.acl_deluser("writer")
    assert wire.rest() == []


def test_a_log_without_announce_publishes_nothing(redis_url: str, wire: Wire, topic: str) -> None:
    store = RedisStore(redis_url)
    (batch,) = RedisLog(store, calls=DatabaseCalls()).append(drafts(topic, 1))
    store.close()

    assert not batch.announced
    assert wire.rest() == []


@pytest.mark.django_db(transaction=True)
def test_a_transactions_events_are_announced_after_its_commit_and_never_after_a_rollback(
    log: RedisLog, wire: Wire, topic: str
) -> None:
    ignore: Callable[[list[Batch]], None] = lambda batches: None  # noqa: E731
    with rolled_back("default"):
        log.stage(drafts(topic, 1), ignore)
    with transaction.atomic():
        log.stage(drafts(topic, 2), ignore)
        assert wire.rest() == []

    ((_, message),) = wire.rest()
    batch = messages.decode(topic, said(message))
    assert isinstance(batch, Batch)
    assert [(e.offset, e.name, e.payload) for e in batch.entries] == [(1, "number.said", b"2")]
