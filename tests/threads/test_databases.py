"""A worker thread's database connections between two pieces of work."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from holdfast.threads import databases
from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])

NOTHING = HandlerInfo()

Make = Callable[..., Threads]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Threads] = []

    def one_thread(**options: bool) -> Threads:
        made.append(Threads(1, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one_thread
    for threads in made:
        threads.close()


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], None]:
    return lambda name, value: monkeypatch.setitem(connections.settings["postgres"], name, value)


def backend() -> int:
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


async def test_a_thread_that_keeps_connections_uses_one_for_all_its_work(make: Make) -> None:
    threads = make(keep_connections=True)
    assert await threads.run(backend) == await threads.run(backend)


async def test_a_kept_connection_that_was_cut_while_it_was_idle_is_replaced(
    make: Make, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = make(keep_connections=True)
    first = await threads.run(backend)
    monkeypatch.setattr(databases, "IDLE_SECONDS", 0.0)
    postgres_server.disconnect_everyone()
    assert await threads.run(backend) != first


async def test_a_kept_connection_is_tested_each_time_if_the_settings_say_so(
    make: Make, postgres_server: PostgresServer, set_up: Callable[[str, object], None]
) -> None:
    set_up("CONN_HEALTH_CHECKS", True)
    threads = make(keep_connections=True)
    first = await threads.run(backend)
    postgres_server.disconnect_everyone()
    assert await threads.run(backend) != first


async def test_a_kept_connection_is_closed_at_its_maximum_age(
    make: Make, set_up: Callable[[str, object], None]
) -> None:
    set_up("CONN_MAX_AGE", 1e-6)
    threads = make(keep_connections=True)
    assert await threads.run(backend) != await threads.run(backend)


async def test_connections_of_handlers_follow_the_settings(
    make: Make, set_up: Callable[[str, object], None]
) -> None:
    threads = make()
    assert await threads.handle(NOTHING, backend) != await threads.handle(NOTHING, backend)
    set_up("CONN_MAX_AGE", None)
    assert await threads.handle(NOTHING, backend) == await threads.handle(NOTHING, backend)


async def test_a_transaction_that_a_handler_left_open_ends_with_the_handler(
    make: Make, set_up: Callable[[str, object], None]
) -> None:
    set_up("CONN_MAX_AGE", None)
    threads = make()

    def begin() -> int:
        transaction.atomic(using="postgres").__enter__()
        return backend()

    first = await threads.handle(NOTHING, begin)
    assert await threads.handle(NOTHING, backend) != first
    assert not await threads.handle(NOTHING, lambda: connections["postgres"].in_atomic_block)


def test_threads_that_are_let_go_close_their_connections(make: Make) -> None:
    opened: list[Any] = []

    def use() -> None:
        connections["postgres"].ensure_connection()
        opened.append((threading.current_thread(), connections["postgres"].connection))

    threads = make(keep_connections=True)
    asyncio.run(threads.run(use))
    threads.let_go()
    ((thread, driver),) = opened
    thread.join(10)
    assert not thread.is_alive()
    assert driver.closed
    asyncio.run(threads.run(use))
