"""The queue of outgoing messages: bounds, order, outages. Carried by the background loop unless a test binds a loop."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from holdfast.backplane.topic_queues import TopicQueues

from .ends import WAIT


class Carrier:
    """Carries nothing until it is opened; fails on request."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.error: Exception | None = None
        self.tried: list[tuple[str, bytes]] = []
        self.begun = threading.Event()
        self.at_once = self.most_at_once = 0
        self.threads: set[str] = set()

    async def __call__(self, topic: str, message: bytes) -> None:
        self.threads.add(threading.current_thread().name)
        self.tried.append((topic, message))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.set()
        try:
            await asyncio.sleep(0)
            while not self.open.is_set():  # noqa: ASYNC110 - opened by another thread
                await asyncio.sleep(0.001)
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def carrier() -> Iterator[Carrier]:
    carrier = Carrier()
    yield carrier
    carrier.open.set()


def test_flush_says_whether_everything_was_carried(carrier: Carrier) -> None:
    queues = TopicQueues(carrier)
    assert queues.flush(0)
    queues.put("t", b"hello")
    assert not queues.flush(0.01)
    carrier.open.set()
    assert queues.flush(WAIT)
    assert carrier.tried == [("t", b"hello")]


def test_when_it_is_full_the_oldest_is_dropped_and_a_warning_given_once(
    carrier: Carrier, caplog: pytest.LogCaptureFixture
) -> None:
    queues = TopicQueues(carrier, limit=3)
    queues.put("t", b"0")
    assert carrier.begun.wait(WAIT)
    for number in range(1, 6):
        queues.put("t", b"%d" % number)
    carrier.open.set()
    assert queues.flush(WAIT)
    assert [message for _, message in carrier.tried] == [b"0", b"4", b"5"]
    assert queues.lost == {"overflow": 3}
    assert len([record for record in caplog.records if "more than it can send" in record.message]) == 1


def test_the_oldest_is_dropped_whatever_its_topic(carrier: Carrier) -> None:
    queues = TopicQueues(carrier, limit=3, lanes=1)
    queues.put("busy", b"0")
    assert carrier.begun.wait(WAIT)
    queues.put("old", b"1")
    queues.put("new", b"2")
    queues.put("newest", b"3")
    carrier.open.set()
    assert queues.flush(WAIT)
    assert [topic for topic, _ in carrier.tried] == ["busy", "new", "newest"]


def test_one_topic_is_carried_in_order_and_many_at_the_same_time(carrier: Carrier) -> None:
    queues = TopicQueues(carrier, lanes=4)
    for number in range(10):
        for topic in "abcdef":
            queues.put(topic, b"%d" % number)
    carrier.open.set()
    assert queues.flush(WAIT)
    for topic in "abcdef":
        assert [m for t, m in carrier.tried if t == topic] == [b"%d" % number for number in range(10)]
    assert 1 < carrier.most_at_once <= 4


def test_one_thread_carries_for_all_queues(carrier: Carrier) -> None:
    carrier.open.set()
    for queues in (TopicQueues(carrier), TopicQueues(carrier)):
        queues.put("t", b"hello")
        assert queues.flush(WAIT)
    assert carrier.threads == {"holdfast-background-loop"}


def test_an_outage_is_logged_once_and_its_end_too(carrier: Carrier, caplog: pytest.LogCaptureFixture) -> None:
    queues = TopicQueues(carrier)
    carrier.error = ConnectionError("refused")
    carrier.open.set()
    for number in range(4):
        queues.put("t", b"%d" % number)
    assert queues.flush(WAIT)
    assert queues.lost == {"failed": 4}
    carrier.error = None
    queues.put("t", b"again")
    assert queues.flush(WAIT)
    assert ["cannot send" in record.message for record in caplog.records] == [True, False]
    assert "sends again; it has lost 4 messages" in caplog.records[1].message
    assert caplog.records[0].levelno == logging.WARNING


def test_in_an_outage_one_message_at_a_time_is_tried(carrier: Carrier) -> None:
    queues = TopicQueues(carrier)
    carrier.error = ConnectionError("refused")
    carrier.open.set()
    queues.put("first", b"")
    assert queues.flush(WAIT)
    carrier.most_at_once = 0
    carrier.open.clear()
    for topic in "abcdef":
        queues.put(topic, b"")
    assert not queues.flush(0.02)
    assert carrier.most_at_once == 1
    carrier.error = None
    carrier.open.set()
    assert queues.flush(WAIT)
    assert queues.lost == {"failed": 1}


def test_messages_that_waited_too_long_are_dropped(carrier: Carrier) -> None:
    time = 0.0
    queues = TopicQueues(carrier, patience=10, now=lambda: time)
    queues.put("t", b"0")
    assert carrier.begun.wait(WAIT)
    queues.put("t", b"1")
    time = 11.0
    queues.put("t", b"2")
    carrier.open.set()
    assert queues.flush(WAIT)
    assert [message for _, message in carrier.tried] == [b"0", b"2"]
    assert queues.lost == {"expired": 1}


def test_a_carrier_that_never_returns_is_given_up(carrier: Carrier) -> None:
    queues = TopicQueues(carrier, patience=0.02)
    queues.put("t", b"0")
    assert queues.flush(WAIT)
    assert queues.lost == {"failed": 1}


async def test_a_bound_loop_carries_the_messages(carrier: Carrier) -> None:
    carrier.open.set()
    queues = TopicQueues(carrier)
    queues.binding.loop = asyncio.get_running_loop()
    queues.put("t", b"here")
    await asyncio.to_thread(queues.put, "t", b"there")
    assert await queues.drained(WAIT)
    assert carrier.threads == {threading.current_thread().name}


def test_messages_of_a_closed_loop_are_carried_by_the_background_loop(carrier: Carrier) -> None:
    queues = TopicQueues(carrier)

    async def leave_something() -> None:
        queues.binding.loop = asyncio.get_running_loop()
        for number in range(3):
            queues.put("t", b"%d" % number)
        while not carrier.begun.is_set():  # noqa: ASYNC110 - what is waited for is one turn away
            await asyncio.sleep(0)

    asyncio.run(leave_something())
    carrier.open.set()
    queues.put("t", b"3")
    assert queues.flush(WAIT)
    assert carrier.tried == [("t", b"%d" % number) for number in range(4)]
    assert queues.lost == {"failed": 1}  # the one that was on its way


def test_messages_that_a_loop_never_began_to_carry_are_carried_by_the_background_loop(
    carrier: Carrier,
) -> None:
    carrier.open.set()
    queues = TopicQueues(carrier)
    loop = asyncio.new_event_loop()
    queues.binding.loop = loop
    queues.put("t", b"0")
    assert queues.flush(WAIT)
    loop.close()
    assert carrier.threads == {"holdfast-background-loop"}


async def test_many_messages_wake_the_loop_once(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier.open.set()
    queues = TopicQueues(carrier)
    wakes: list[object] = []
    wake = queues._wake

    def counted() -> None:
        wakes.append(None)
        wake()

    monkeypatch.setattr(queues, "_wake", counted)
    queues.binding.loop = asyncio.get_running_loop()
    for _ in range(1000):
        queues.put("t", b"")
    assert len(wakes) == 1
    assert await queues.drained(WAIT)
