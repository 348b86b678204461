"""Batching of concurrent work: while one batch is carried out, the next one gathers."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from itertools import islice
from typing import Any, Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Batcher(Generic[Item]):
    """Gathers items and carries them out in batches, one batch at a time, on one event loop.

    ``carry`` gets the items that were added since the last batch, at most ``at_once`` of them, in the order in which they
    were added; an item that was added twice comes once. Before each batch items gather for ``gather_seconds``. ``spawn``
    starts a task, which exists only while there is work.

    ``carry`` handles its own errors: one that it raises ends the task, and the items that still wait are carried out with
    the next one that is added.
    """

    __slots__ = (
        "_at_once",
        "_carry",
        "_closed",
        "_due",
        "_gather_seconds",
        "_items",
        "_running",
        "_spawn",
        "_task",
    )

    def __init__(
        self,
        carry: Callable[[list[Item]], Awaitable[None]],
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        at_once: int | None = None,
        gather_seconds: float = 0.0,
    ) -> None:
        self._carry = carry
        self._spawn = spawn
        self._at_once = at_once
        self._gather_seconds = gather_seconds
        self._items: dict[Item, None] = {}
        self._due = False
        self._closed = False
        self._running = False
        self._task: object = None  # a loop holds only a weak reference to its tasks

    def add(self, item: Item) -> None:
        """Carry out ``item`` with the next batch."""
        if not self._closed:
            self._items[item] = None
            self.wake()

    def wake(self) -> None:
        """Carry out one more batch, also if nothing is added to it."""
        if self._closed:
            return
        self._due = True
        if not self._running:
            self._running = True
            self._task = self._spawn(self._run())

    def close(self) -> None:
        """Drop the items that wait, and carry out no more batches."""
        self._closed = True
        self._items.clear()
        self._due = False

    def __contains__(self, item: object) -> bool:
        """Does ``item`` wait for the next batch?"""
        return item in self._items

    def __len__(self) -> int:
        return len(self._items)

    async def _run(self) -> None:
        try:
            while self._due:
                if self._gather_seconds:
                    await asyncio.sleep(self._gather_seconds)
                batch = list(islice(self._items, self._at_once))
                for item in batch:
                    del self._items[item]
                self._due = bool(self._items)
                await self._carry(batch)
        finally:
            # Now, and not when the task is done: an item may be added in the same turn of the loop.
            self._running, self._task = False, None
