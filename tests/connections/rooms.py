"""Topics of the tests of one connection, and a server for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from holdfast import Event, Keep, Slow, Topic, action
from tests.support.connected import Process, fleet


class Said(Event):
    n: int


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep()

    room: str
    gate: "asyncio.Event | None" = None

    async def may_join(self, user: Any) -> bool:
        if self.room == "slow" and Room.gate is not None:
            await Room.gate.wait()
        if self.room == "broken":
            raise ZeroDivisionError
        return self.room != "secret"

    @action
    async def say(self, caller: Any, n: int) -> int:
        await self.apublish(Said(n), exclude=caller)
        return n


class Notes(Topic):
    route = "notes/<me>"
    events = [Said]

    async def may_join(self, user: Any) -> bool:
        return True


class Prices(Topic):
    route = "prices"
    events = [Said]
    slow = Slow.conflate()

    async def may_join(self, user: Any) -> bool:
        return True


@asynccontextmanager
async def world(**policy: Any) -> AsyncIterator[Process]:
    """Serve them. Afterwards no join waits at the gate of ``rooms/slow`` any more."""
    try:
        async with fleet(Room, Notes, Prices, **policy) as made:
            yield made.processes[0]
    finally:
        Room.gate = None


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]
