"""The room as topics: one that passes through, as Channels does, and one that is kept in the log."""

from typing import Any

from holdfast import Event, Keep, Topic, action


class Said(Event):
    body: str


class Passing(Topic):
    route = "passing/<slug:room>"
    events = [Said]

    async def may_join(self, user: Any) -> bool:
        return True

    @action
    async def say(self, caller: Any, body: str) -> None:
        await self.apublish(Said(body))


class Kept(Passing):
    route = "kept/<slug:room>"
    keep = Keep(days=1)
