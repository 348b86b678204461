from typing import Any

from holdfast import Event, Keep, Topic, action


class Said(Event):
    text: str


class Room(Topic):
    """All clients may join."""

    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep(days=1)

    async def may_join(self, user: Any) -> bool:
        return True

    @action
    def say(self, caller: Any, text: str) -> None:
        self.publish(Said(text))
