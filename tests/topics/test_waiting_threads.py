"""``async`` methods that a thread waits for in ``async_to_sync``, as a view under ``ATOMIC_REQUESTS`` does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction

import holdfast
from holdfast import runtime
from holdfast.backplane.memory import MemoryBackplane
from holdfast.control.commands import TOPIC as ORDERS
from holdfast.hub.hub import Hub
from holdfast.log.database import DatabaseLog
from holdfast.runtime import Runtime
from holdfast.threads.threads import Threads
from tests.log.events import numbers
from tests.log.transactions import rolled_back
from tests.topics.test_topic import Posted, Room, Typing

LOBBY = Room(room="lobby")

pytestmark = pytest.mark.timeout(40)


@pytest.fixture
def parts(database: str) -> Iterator[Runtime]:
    parts = Runtime(
        log=DatabaseLog(database),
        backplane=MemoryBackplane(),
        threads=Threads(2),
        log_threads=Threads(2, keep_connections=True),
    )
    with runtime.using(parts):
        yield parts
    parts.threads.close()
    parts.log_threads.close()  # type: ignore[union-attr]


class Listening(Hub):
    """Notes the events that it gets, in no order and on no loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.close()
        self.heard: list[str] = []

    def deliver(self, items: Any) -> None:
        self.heard += [type(item).__name__ for _, item in items]


def head(parts: Runtime, topic: str = LOBBY.name) -> int:
    return parts.log.heads([topic])[topic].offset


def test_a_publish_rolls_back_with_the_transaction_of_the_waiting_thread(parts: Runtime) -> None:
    parts.publisher.attach(listening := Listening())
    with rolled_back(parts.log.alias):
        async_to_sync(LOBBY.apublish)(Posted(1), Typing("ada"))
        async_to_sync(holdfast.apublish)([(LOBBY, Posted(2)), (LOBBY, Typing("ada"))])

    assert head(parts) == 0
    assert listening.heard == []


def test_the_event_is_sent_when_that_transaction_commits(parts: Runtime) -> None:
    parts.publisher.attach(listening := Listening())
    with transaction.atomic(using=parts.log.alias):
        async_to_sync(LOBBY.apublish)(Posted(1), Typing("ada"))
        assert listening.heard == []

    assert head(parts) == 1
    assert listening.heard == ["Batch", "list"]


def test_without_a_transaction_the_event_is_sent_at_once(parts: Runtime) -> None:
    async_to_sync(LOBBY.apublish)(Posted(1))

    assert head(parts) == 1


@pytest.mark.parametrize(
    "order",
    [
        partial(LOBBY.aevict, 7),
        LOBBY.aevict_all,
        LOBBY.arecheck,
        Room.arecheck,
        partial(holdfast.adisconnect, 7),
        partial(holdfast.arecheck, 7),
    ],
)
def test_commands_are_part_of_that_transaction_too(
    parts: Runtime, order: Callable[[], Awaitable[None]]
) -> None:
    with rolled_back(parts.log.alias):
        async_to_sync(order)()
    assert head(parts, ORDERS) == 0

    with transaction.atomic(using=parts.log.alias):
        async_to_sync(order)()
        assert head(parts, ORDERS) == 0
    assert head(parts, ORDERS) == 1

    async_to_sync(order)()
    assert head(parts, ORDERS) == 2


def test_a_position_waits_for_no_lock_that_the_waiting_thread_has(parts: Runtime) -> None:
    """On SQLite that thread has locked everything, and the topic is new, so its row has to be written."""
    with transaction.atomic(using=parts.log.alias):
        LOBBY.publish(Posted(1))
        assert async_to_sync(Room(room="new").aposition)().offset == 0


def test_a_consistent_read_runs_in_the_thread_with_the_transaction(parts: Runtime) -> None:
    def waiting() -> int:
        with connections[parts.log.alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM holdfast_outbox")
            return int(cursor.fetchone()[0])

    other = Room(room="other")
    with transaction.atomic(using=parts.log.alias):
        LOBBY.publish(Posted(1))
        assert async_to_sync(other.aconsistent_read)(waiting)[1] == 1


async def test_a_task_that_outlives_the_call_publishes_by_itself(parts: Runtime) -> None:
    go_on = asyncio.Event()
    tasks = []

    async def publish_later() -> None:
        await go_on.wait()
        await LOBBY.apublish(Posted(1))

    async def start() -> None:
        tasks.append(asyncio.create_task(publish_later()))

    def view() -> None:
        async_to_sync(start)()

    await sync_to_async(view, thread_sensitive=False)()
    go_on.set()
    await tasks[0]

    assert await asyncio.to_thread(lambda: (numbers(parts.log, LOBBY.name), connections.close_all())[0]) != []


async def test_an_error_in_the_waiting_thread_is_raised(parts: Runtime) -> None:
    def fail() -> None:
        raise RuntimeError("of the application")

    def view() -> None:
        try:
            async_to_sync(LOBBY.aconsistent_read)(fail)
        finally:
            connections.close_all()

    with pytest.raises(RuntimeError, match="of the application"):
        await sync_to_async(view, thread_sensitive=False)()
