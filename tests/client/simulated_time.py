"""Event loop of asyncio whose time passes when a test says so."""

import asyncio

TURNS = 60
"""Turns of the loop in which all work ends that waits only for other tasks."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop at a time of its own. Timers fire within :meth:`advance` only."""

    def __init__(self) -> None:
        self._simulated = 1000.0
        self._timers: list[asyncio.TimerHandle] = []
        super().__init__()

    def time(self) -> float:
        return self._simulated

    def call_at(self, when: float, callback, *args, context=None):  # type: ignore[no-untyped-def, override]
        timer = super().call_at(when, callback, *args, context=context)
        self._timers.append(timer)
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass, each timer firing when it is due."""
        end = self._simulated + seconds
        await settle()
        while True:
            self._timers = [
                timer for timer in self._timers if not timer.cancelled() and timer.when() > self._simulated
            ]
            due = min((timer.when() for timer in self._timers), default=end)
            if due >= end:
                break
            self._simulated = due
            await settle()
        self._simulated = end
        await settle()


async def settle() -> None:
    """Let everything happen that waits for other tasks only."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
