"""An event loop whose clock jumps: a wait for a minute takes no real time, and each run is the same."""

import asyncio
import functools
import selectors
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar
from unittest import mock

from holdfast.threads import threads
from holdfast.threads.workers import Job

P = ParamSpec("P")
T = TypeVar("T")

STUCK_SECONDS = 10.0

#: Seconds of real time after which a thread counts as blocked on purpose, so that the clock jumps in spite of it.
BLOCKED_SECONDS = 1.0


class JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer. Waits only for threads: their work takes real time, and a clock that jumped during it
    would end every time limit on that work."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads: dict[
            asyncio.Future[Any], float
        ] = {}  # what a thread works on, and the real time of its start

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            ready = super().select(STUCK_SECONDS)
            if not ready:
                raise RuntimeError("nothing will ever happen on this loop again: something waits in vain")
            return ready
        while (working := self._seconds_for_threads()) > 0:
            if ready := super().select(working):
                return ready
        self.now += timeout
        return []

    def _seconds_for_threads(self) -> float:
        """Real seconds to wait for the youngest thread that is at work; 0 if none is, or if all are blocked."""
        if not self.threads:
            return 0.0
        return max(self.threads.values()) + BLOCKED_SECONDS - time.monotonic()


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        future = super().run_in_executor(executor, func, *args)
        self.watch(future)
        return future

    def watch(self, future: "asyncio.Future[Any]") -> None:
        """Wait for the thread that is going to set this future."""
        self._clock.threads[future] = time.monotonic()
        future.add_done_callback(lambda done: self._clock.threads.pop(done, None))

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads themselves: a time limit, as Python 3.12 sets one, would be over at once."""
        if sys.version_info >= (3, 12):
            await super().shutdown_default_executor(None)
        else:
            await super().shutdown_default_executor()


class WatchedJob(Job[T]):
    """Work for one of Holdfast's threads, which takes real time as well."""

    __slots__ = ()

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> None:
        super().__init__(loop, work)
        if isinstance(loop, JumpingLoop):
            loop.watch(self.future)


def in_jumping_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async test on a loop whose clock jumps."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with (
            mock.patch.object(threads, "Job", WatchedJob),
            asyncio.Runner(loop_factory=JumpingLoop) as runner,
        ):
            return runner.run(test(*args, **kwargs))

    return run


async def turns(count: int = 20) -> None:
    """Run all callbacks that can run while the clock stands still."""
    for _ in range(count):
        await asyncio.sleep(0)
