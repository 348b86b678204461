"""The pool of worker threads, and its database connections."""

import asyncio
import threading
from typing import Any

from django.db import connections

from holdfast.threads.threads import Threads


def opened(database: str) -> Any:
    """Open this thread's connection; the one of the driver."""
    connections[database].ensure_connection()
    return connections[database].connection


def is_open(driver: Any) -> bool:
    if hasattr(driver, "closed"):
        return not driver.closed
    try:
        driver.cursor().close()
    except driver.ProgrammingError:
        return False
    return True


async def test_close_ends_the_connections_of_a_thread_that_is_still_busy(database: str) -> None:
    """This holds not only for a thread that the pool starts because none is free."""
    threads = Threads(4, keep_connections=True)
    busy, done = threading.Event(), threading.Event()

    def work() -> Any:
        driver = opened(database)
        busy.set()
        done.wait(10)
        return driver

    working = asyncio.create_task(threads.run(work))
    await asyncio.to_thread(busy.wait, 10)
    closing = asyncio.create_task(asyncio.to_thread(threads.close))
    await asyncio.sleep(0.1)
    done.set()
    driver = await working
    await closing
    assert not is_open(driver)


async def test_close_ends_the_connections_of_every_thread(database: str) -> None:
    threads = Threads(4, keep_connections=True)
    together = threading.Barrier(4)

    def work() -> Any:
        driver = opened(database)
        together.wait(10)
        return driver

    drivers = await asyncio.gather(*[threads.run(work) for _ in range(4)])
    await asyncio.to_thread(threads.close)
    assert [is_open(driver) for driver in drivers] == [False] * 4
