"""Batching: while one batch is carried out, the next one gathers."""

import asyncio

from holdfast.process.batcher import Batcher


class Carrier:
    """Notes the batches, and holds each one until it is let go."""

    def __init__(self, at_once: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.gate = asyncio.Semaphore(0)
        self.errors: list[Exception] = []
        self.batcher = Batcher[int](self._carry, spawn=self._spawn, at_once=at_once)

    def _spawn(self, work: object) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self.tasks.append(task)
        return task

    async def _carry(self, items: list[int]) -> None:
        self.batches.append(items)
        await self.gate.acquire()
        if self.errors:
            raise self.errors.pop()

    async def let_go(self, batches: int = 1) -> None:
        for _ in range(batches):
            self.gate.release()
        for _ in range(5):
            await asyncio.sleep(0)


async def test_while_one_batch_is_carried_out_the_next_gathers() -> None:
    carrier = Carrier()
    carrier.batcher.add(1)
    await asyncio.sleep(0)
    for number in (2, 3, 4):
        carrier.batcher.add(number)
    assert carrier.batches == [[1]]
    await carrier.let_go()
    assert carrier.batches == [[1], [2, 3, 4]]


async def test_one_task_serves_while_there_is_work_and_ends_with_it() -> None:
    carrier = Carrier()
    carrier.batcher.add(1)
    await asyncio.sleep(0)
    carrier.batcher.add(2)
    await carrier.let_go(2)
    assert len(carrier.tasks) == 1
    assert carrier.tasks[0].done()
    carrier.batcher.add(3)
    await carrier.let_go()
    assert len(carrier.tasks) == 2
    assert carrier.batches[-1] == [3]


async def test_an_item_added_twice_comes_once() -> None:
    carrier = Carrier()
    for number in (1, 2, 1):
        carrier.batcher.add(number)
    await carrier.let_go()
    assert carrier.batches == [[1, 2]]


async def test_a_batch_has_at_most_so_many_items() -> None:
    carrier = Carrier(at_once=2)
    for number in range(5):
        carrier.batcher.add(number)
    await carrier.let_go(3)
    assert carrier.batches == [[0, 1], [2, 3], [4]]


async def test_an_item_added_while_it_is_carried_out_comes_again() -> None:
    carrier = Carrier()
    carrier.batcher.add(1)
    await asyncio.sleep(0)
    assert 1 not in carrier.batcher
    carrier.batcher.add(1)
    assert 1 in carrier.batcher
    await carrier.let_go(2)
    assert carrier.batches == [[1], [1]]


async def test_a_wake_up_carries_out_a_batch_of_nothing() -> None:
    carrier = Carrier()
    carrier.batcher.wake()
    await carrier.let_go()
    assert carrier.batches == [[]]


async def test_a_closed_batcher_carries_out_nothing_more() -> None:
    carrier = Carrier()
    carrier.batcher.add(1)
    await asyncio.sleep(0)
    carrier.batcher.add(2)
    carrier.batcher.close()
    carrier.batcher.add(3)
    carrier.batcher.wake()
    assert len(carrier.batcher) == 0
    await carrier.let_go()
    assert carrier.batches == [[1]]


async def test_items_gather_before_each_batch() -> None:
    batches: list[list[int]] = []

    async def carry(items: list[int]) -> None:
        batches.append(items)

    batcher = Batcher(carry, spawn=asyncio.get_running_loop().create_task, gather_seconds=0.005)
    batcher.add(1)
    await asyncio.sleep(0)
    batcher.add(2)
    await asyncio.sleep(0.05)
    assert batches == [[1, 2]]


async def test_after_an_error_items_are_carried_out_with_the_next_one_added() -> None:
    carrier = Carrier()
    carrier.errors.append(RuntimeError("of the carrier"))
    carrier.batcher.add(1)
    await asyncio.sleep(0)
    carrier.batcher.add(2)
    await carrier.let_go()
    assert isinstance(carrier.tasks[0].exception(), RuntimeError)
    carrier.batcher.add(3)
    await carrier.let_go()
    assert carrier.batches == [[1], [2, 3]]
