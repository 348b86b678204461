"""Pages of a topic's history, read from each log."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from holdfast.log.base import Draft, Log
from holdfast.log.database import DatabaseLog
from holdfast.log.database_calls import DatabaseCalls
from holdfast.log.memory import MemoryLog
from holdfast.log.redis import RedisLog
from holdfast.protocol.positions import Position
from holdfast.redis.client import RedisStore
from holdfast.streams.history import END, SPAN, Gone, HistoryPage, NoPage, full, newest, rest
from tests.services.databases import EACH_DATABASE


@pytest.fixture(params=["memory", *EACH_DATABASE, "redis"])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    if request.param == "memory":
        yield MemoryLog()
    elif request.param == "redis":
        store = RedisStore(request.getfixturevalue("redis_url"))
        yield RedisLog(store, calls=DatabaseCalls())
        store.close()
    else:
        yield DatabaseLog(request.param)


@pytest.fixture
def topic() -> str:
    return f"news/{uuid4().hex}"


def write(log: Log, topic: str, count: int, size: int = 0) -> None:
    """Append events one after the other, so that each has a stamp of its own."""
    for _ in range(count):
        log.append([Draft(topic=topic, name="said", payload=b'{"text":"%b"}' % (b"x" * size))])


def named(log: Log, topic: str, offset: int) -> Position:
    """Return the name of the page that ends at an offset."""
    head = log.heads([topic])[topic]
    return full(log, topic, Position(epoch=head.epoch, offset=offset)).position


def offsets(page: HistoryPage) -> list[int]:
    return [entry.offset for entry in page.entries]


def body(log: Log, page: HistoryPage) -> Any:
    entries = list(page.entries)
    while entries[-1].offset < page.position.offset:
        entries += rest(log, page, entries[-1])
    return msgspec.json.decode(page.head + page.messages(entries) + END)


def test_a_reader_goes_back_from_the_newest_events_and_misses_none(log: Log, topic: str) -> None:
    write(log, topic, 2 * SPAN + 7)
    page = newest(log, topic)
    assert not page.final
    found = [body(log, page)]
    while page.previous is not None:
        page = full(log, topic, page.previous)
        assert page.final
        found.append(body(log, page))
    read = [event["offset"] for answer in reversed(found) for event in answer["events"]]
    assert read == list(range(1, 2 * SPAN + 8))
    assert found[-1]["previous"] is None
    assert found[0]["position"] == str(log.heads([topic])[topic].position)


def test_a_topic_without_events_has_a_position_and_nothing_else(log: Log, topic: str) -> None:
    page = newest(log, topic)
    assert (page.position, page.previous, page.entries) == (log.heads([topic])[topic].position, None, [])


def test_events_that_fill_a_page_leave_the_newest_empty(log: Log, topic: str) -> None:
    write(log, topic, SPAN)
    page = newest(log, topic)
    assert page.entries == []
    assert page.previous == page.position == log.heads([topic])[topic].position
    assert offsets(full(log, topic, page.position)) == list(range(1, SPAN + 1))


def test_a_page_that_is_not_full_has_no_name(log: Log, topic: str) -> None:
    write(log, topic, SPAN - 1)
    with pytest.raises(NoPage):
        full(log, topic, Position(epoch=log.heads([topic])[topic].epoch, offset=SPAN))
    with pytest.raises(NoPage):
        full(log, topic, Position(epoch=log.heads([topic])[topic].epoch, offset=5 * SPAN))


def test_a_page_of_another_log_is_gone(log: Log, topic: str) -> None:
    write(log, topic, SPAN)
    name = named(log, topic, SPAN)
    other = Position(epoch=name.epoch, offset=name.offset, stamp=name.stamp ^ 1)
    with pytest.raises(Gone) as gone:
        full(log, topic, other)
    assert gone.value.reason == "epoch"
    log.rotate_epoch(topic)
    with pytest.raises(Gone) as gone:
        full(log, topic, name)
    assert (gone.value.reason, gone.value.head) == ("epoch", log.heads([topic])[topic])


def test_a_trimmed_page_is_gone_and_one_that_is_partly_trimmed_is_not_final(log: Log, topic: str) -> None:
    write(log, topic, 2 * SPAN + 5)
    first, second = named(log, topic, SPAN), named(log, topic, 2 * SPAN)
    whole = full(log, topic, second)
    assert (whole.final, whole.previous) == (True, first)

    # The last event of the page before belongs to what the page says.
    log.trim(topic, count=SPAN + 5)
    page = full(log, topic, second)
    assert (page.final, page.previous, offsets(page)) == (False, None, list(range(SPAN + 1, 2 * SPAN + 1)))
    with pytest.raises(Gone) as gone:
        full(log, topic, first)
    assert (gone.value.reason, gone.value.head.floor) == ("trimmed", SPAN)

    log.trim(topic, count=SPAN - 5)
    page = full(log, topic, second)
    assert (page.final, offsets(page)) == (False, list(range(SPAN + 11, 2 * SPAN + 1)))
    assert newest(log, topic).previous == second

    log.trim(topic, count=3)
    page = newest(log, topic)
    assert (page.previous, offsets(page)) == (None, [2 * SPAN + 3, 2 * SPAN + 4, 2 * SPAN + 5])


def test_a_page_of_large_events_is_read_in_parts(log: Log, topic: str) -> None:
    write(log, topic, 2 * SPAN, size=10_000)
    page = full(log, topic, named(log, topic, 2 * SPAN))
    assert len(page.messages(page.entries)) < 400_000
    assert page.final
    assert not page.whole
    assert [event["offset"] for event in body(log, page)["events"]] == list(range(SPAN + 1, 2 * SPAN + 1))
