"""Threads in which async handlers use the ORM: one for each handler, and a bounded number."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from holdfast.threads import lending
from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads

thread = sync_to_async(threading.get_ident)


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(2)
    yield made
    made.close()


def begin(threads: Threads, handler: Any) -> "asyncio.Task[Any]":
    handling = threads.handle_async(HandlerInfo(), handler)
    return asyncio.get_running_loop().create_task(handling, context=threads.context())


async def test_a_handler_has_one_thread_from_its_first_use_to_its_end(threads: Threads) -> None:
    async def handler() -> list[int]:
        first = await thread()
        await asyncio.sleep(0.01)
        return [first, await thread()]

    found = await asyncio.gather(begin(threads, handler), begin(threads, handler))
    assert [len(set(one)) for one in found] == [1, 1]
    assert found[0][0] != found[1][0]


async def test_a_handler_that_needs_no_thread_waits_for_none(threads: Threads) -> None:
    async def holder() -> None:
        await thread()
        await over.wait()

    async def other() -> str:
        return "done"

    over = asyncio.Event()
    holding = [begin(threads, holder) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert await begin(threads, other) == "done"
    over.set()
    await asyncio.gather(*holding)


async def test_more_handlers_than_threads_take_turns(threads: Threads) -> None:
    used: set[int] = set()

    async def handler() -> None:
        used.add(await thread())
        await asyncio.sleep(0.01)
        used.add(await thread())

    await asyncio.gather(*[begin(threads, handler) for _ in range(20)])
    assert len(used) == 2


async def test_a_handler_that_does_not_use_its_thread_for_long_gives_it_back(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "IDLE_SECONDS", 0.05)

    async def holder() -> bool:
        await thread()
        await over.wait()
        return await thread() > 0

    over = asyncio.Event()
    holding = [begin(threads, holder) for _ in range(2)]
    async with asyncio.timeout(5):
        assert await begin(threads, thread) > 0
    over.set()
    assert await asyncio.gather(*holding) == [True, True]


async def test_a_task_that_a_handler_left_behind_may_still_use_the_orm(threads: Threads) -> None:
    left: list[asyncio.Task[int]] = []

    async def later() -> int:
        await over.wait()
        return await thread()

    async def handler() -> None:
        await thread()
        left.append(asyncio.get_running_loop().create_task(later()))

    over = asyncio.Event()
    await begin(threads, handler)
    over.set()
    assert await left[0] > 0


async def test_stop_iteration_in_the_thread_reaches_the_handler_as_an_error(threads: Threads) -> None:
    async def handler() -> None:
        await sync_to_async(next)(iter(()))

    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await begin(threads, handler)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await threads.run(next, iter(()))


async def test_closing_does_not_wait_for_a_handler_that_does_not_end(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "IDLE_SECONDS", 0.05)

    async def holder() -> None:
        await thread()
        await asyncio.Event().wait()

    holding = begin(threads, holder)
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    await asyncio.to_thread(threads.close)
    assert time.monotonic() - begun < 5
    holding.cancel()
