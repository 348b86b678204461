"""Threads shared fairly: by ``def`` handlers, and by ``async def`` handlers that use the ORM."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads
from holdfast.threads.turns import Kind, Place


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(4)
    yield made
    made.close()


def begin(threads: Threads, place: Place, handler: Any) -> "asyncio.Task[Any]":
    handle: Any = threads.handle_async if asyncio.iscoroutinefunction(handler) else threads.handle
    work = handle(HandlerInfo(), handler)
    return asyncio.get_running_loop().create_task(work, context=threads.context(place))


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_user_s_slow_handlers_leave_threads_for_others(threads: Threads, is_async: bool) -> None:
    over = threading.Event()

    def slow() -> None:
        over.wait(10)

    async def slow_async() -> None:
        await sync_to_async(over.wait)(10)

    async def quick_async() -> int:
        return await sync_to_async(threading.get_ident)()

    quick = quick_async if is_async else threading.get_ident
    attack = [begin(threads, (Kind.CALL, "eve"), slow_async if is_async else slow) for _ in range(50)]
    try:
        for place in ((Kind.CALL, "ada"), (Kind.DECISION, "eve"), (Kind.DECISION, None)):
            async with asyncio.timeout(5):
                assert await begin(threads, place, quick) > 0
    finally:
        over.set()
        await asyncio.gather(*attack)


async def test_a_handler_whose_task_is_cancelled_while_it_waits_never_runs(threads: Threads) -> None:
    over, ran = threading.Event(), []
    busy = [begin(threads, (Kind.CALL, str(owner)), lambda: over.wait(10)) for owner in range(3)]
    waiting = [begin(threads, (Kind.CALL, "eve"), lambda: ran.append(1)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    over.set()
    await asyncio.gather(*busy)
    assert await begin(threads, (Kind.CALL, "eve"), lambda: "later") == "later"
    assert ran == []


async def test_a_handler_counts_until_its_thread_ends_also_if_nothing_waits_for_it(threads: Threads) -> None:
    over = threading.Event()
    abandoned = [begin(threads, (Kind.CALL, "eve"), lambda: over.wait(10)) for _ in range(3)]
    await asyncio.sleep(0.05)
    for task in abandoned:
        task.cancel()
    await asyncio.gather(*abandoned, return_exceptions=True)
    more = begin(threads, (Kind.CALL, "eve"), lambda: "late")
    await asyncio.sleep(0.05)
    assert not more.done()
    over.set()
    assert await more == "late"


async def test_a_handler_that_raises_stop_iteration_ends_its_task_with_an_error(threads: Threads) -> None:
    def ends() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await begin(threads, (Kind.CALL, "ada"), ends)
