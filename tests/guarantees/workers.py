"""Threads that do one thing at a time on request, each with its own database connections.

A transaction that one of them leaves open stays open until its next step, so a test can put the steps of several
connections into any order.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from django.db import connections, transaction

P = ParamSpec("P")
T = TypeVar("T")

SECONDS = 25.0


class Worker:
    """A thread, and the transaction that it may have open."""

    def __init__(self, name: str) -> None:
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        self.blocks: list[Any] = []  # the atomic() blocks that are open, outermost first

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
        connections.close_all()

    def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in the thread, and return its result or raise its exception."""
        outcome: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def order() -> None:
            try:
                outcome.put((True, function(*args, **kwargs)))
            except BaseException as error:
                outcome.put((False, error))

        self._orders.put(order)
        well, value = outcome.get(timeout=SECONDS)
        if not well:
            raise value
        result: T = value
        return result

    def end(self) -> None:
        self._orders.put(None)
        self._thread.join(SECONDS)

    # ── a transaction, step by step ──────────────────────────────────────────────────────────────────────────────────

    def begin(self, alias: str) -> None:
        """Open a transaction, or a savepoint in the one that is open."""
        block = transaction.atomic(using=alias)
        self.do(block.__enter__)
        self.blocks.append(block)

    def finish(self, *, well: bool) -> None:
        """Commit or roll back the innermost block."""
        block = self.blocks.pop()
        error = None if well else Exception("roll back")
        self.do(block.__exit__, type(error) if error else None, error, None)

    def commit_and_die(self, alias: str) -> None:
        """Commit; then the process dies, so that nothing that was to happen on commit does."""

        def forget() -> None:
            connection = connections[alias]
            connection.run_on_commit = []
            connection.__dict__.pop("_holdfast_published", None)

        self.do(forget)
        self.finish(well=True)


@contextlib.contextmanager
def working(count: int) -> Iterator[list[Worker]]:
    """Run ``count`` workers, which end with the block."""
    made = [Worker(f"worker-{number}") for number in range(count)]
    try:
        yield made
    finally:
        for worker in made:
            worker.end()


class Beside:
    """A hub's threads: one worker. It hands its results over at once, after ``lag`` turns of the loop, or when it is let go
    of."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.lag = 0
        self._free = asyncio.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self.worker.do(function, *args, **kwargs)
        finally:
            for _ in range(self.lag):
                await asyncio.sleep(0)
            await self._free.wait()

    def close(self) -> None:
        pass
