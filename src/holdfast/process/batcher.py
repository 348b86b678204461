"""Batching of concurrent work: while one batch is carried out, the next one gathers."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from itertools import islice
from typing import Any, Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Batcher(Generic[Item]):
    """Gathers items and carries them out in batches, one batch at a time, on one event loop.

    ``carry`` gets the items that were added since the last batch, at most ``at_once`` of them, in the order in which they
    were added; an item that was added twice comes once. ``spawn`` starts a task, which exists only while there is work.
    ``carry`` handles its own errors: one that it raises ends the task, and the items that still wait are carried out with
    the next one that is added.
    """

    __slots__ = ("_at_once", "_carry", "_due", "_items", "_spawn", "_task")

    def __init__(
        self,
        carry: Callable[[list[Item]], Awaitable[None]],
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        at_once: int | None = None,
    ) -> None:
        self._carry = carry
        self._spawn = spawn
        self._at_once = at_once
        self._items: dict[Item, None] = {}
        self._due = False
        self._task: asyncio.Task[None] | None = None

    def add(self, item: Item) -> None:
        """Carry out ``item`` with the next batch."""
        self._items[item] = None
        self.wake()

    def wake(self) -> None:
        """Carry out one more batch, also if nothing is added to it."""
        self._due = True
        if self._task is None or self._task.done():
            self._task = self._spawn(self._run())

    def clear(self) -> None:
        """Forget the items that wait."""
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
                batch = list(islice(self._items, self._at_once))
                for item in batch:
                    del self._items[item]
                self._due = bool(self._items)
                await self._carry(batch)
        finally:
            # Now, and not when the task is done: an item may be added in the same turn of the loop.
            self._task = None
