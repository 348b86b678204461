"""The room as a topic with all that a topic has: an authorization rule, checked arguments, offsets, a log."""

import asyncio
import time
from typing import Any

from holdfast import Event, Keep, Slow, Topic, action


class Said(Event):
    body: str


class Hall(Topic):
    """``hall/open`` admits every client, all others only signed-in users."""

    route = "hall/<slug:room>"
    events = [Said]
    keep = Keep(days=1)

    async def may_join(self, user: Any) -> bool:
        return self.room == "open" or user.is_authenticated

    @action
    async def say(self, caller: Any, body: str) -> None:
        await self.apublish(Said(body))

    @action(once=False)
    async def echo(self, caller: Any, body: str) -> str:
        return body


class Tick(Event):
    symbol: str
    at: float
    """When it was published, on this machine's monotonic clock."""
    note: str = "." * 64


class Quotes(Topic):
    """A feed of ticks, as fast as they come; ``run`` publishes them from this process."""

    route = "quotes/<slug:feed>"
    events = [Tick]
    slow = Slow.conflate("symbol")

    async def may_join(self, user: Any) -> bool:
        return True

    @action(once=False, timeout=600)
    async def run(self, caller: Any, per_second: int, symbols: int, seconds: float) -> int:
        """Publish ``per_second`` ticks of ``symbols`` in turn; return how many. Ticks that are late are published at once."""
        begun, count = time.monotonic(), 0
        while (passed := time.monotonic() - begun) < seconds:
            while count < passed * per_second:
                await self.apublish(Tick(f"S{count % symbols}", time.monotonic()))
                count += 1
            await asyncio.sleep(0.001)
        return count


class Quotes10(Quotes):
    route = "quotes10/<slug:feed>"
    slow = Slow.conflate("symbol", rate="10/s")


class Quotes2(Quotes):
    route = "quotes2/<slug:feed>"
    slow = Slow.conflate("symbol", rate="2/s")
