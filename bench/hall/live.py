"""The room as a topic with all that a topic has: an authorization rule, checked arguments, offsets, a log."""

from typing import Any

from holdfast import Event, Keep, Topic, action


class Said(Event):
    body: str


class Hall(Topic):
    """``hall/open`` admits anybody, every other one only users."""

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
