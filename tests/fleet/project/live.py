"""Rooms and vaults, which are durable, and tickers, which are not."""

import time
from typing import Any

from holdfast import Event, Keep, Presence, Topic, action

from .models import Ban, Fact


class Said(Event):
    """``value`` is unlike every other one of the run; ``at`` is when its publisher began to publish it."""

    value: str
    at: float
    pad: str = ""


class Shouted(Event):
    """Published outside of a transaction."""

    value: str
    at: float


class Curtain(Event):
    """The last event of a room, for which every client waits at the end."""

    value: str
    at: float


class Tick(Event, durable=False):
    value: str
    at: float


class Room(Topic):
    """All signed-in users may join, except banned ones."""

    route = "rooms/<slug:room>"
    events = [Said, Shouted, Curtain]
    keep = Keep(days=1)
    presence = Presence()

    def may_join(self, user: Any) -> bool:
        return bool(
            user.is_authenticated and not Ban.objects.filter(user_id=user.pk, topic=self.name).exists()
        )

    @action
    def post(self, caller: Any, value: str, pad: int = 0) -> str:
        self._say(value, pad, None)
        return value

    @action
    def post_to_others(self, caller: Any, value: str, pad: int = 0) -> str:
        self._say(value, pad, caller)
        return value

    @action(timeout=5)
    async def shout(self, caller: Any, value: str) -> str:
        await self.apublish(Shouted(value, time.monotonic()))
        return value

    def _say(self, value: str, pad: int, exclude: Any) -> None:
        at = time.monotonic()
        Fact.objects.create(topic=self.name, value=value)
        self.publish(Said(value, at, "x" * pad), exclude=exclude)


class Vault(Topic):
    """For users with a permission, of their own or by a group."""

    route = "vaults/<slug:vault>"
    events = [Shouted]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return bool(user.has_perm("auth.view_group"))


class Ticker(Topic):
    """A topic that stores nothing."""

    route = "tickers/<slug:symbol>"
    events = [Tick]

    async def may_join(self, user: Any) -> bool:
        return bool(user.is_authenticated)


class OrderPaid(Event):
    order: int


class OrderTopic(Topic):
    """The topic of the events that a webhook reports."""

    route = "orders/<int:pk>"
    events = [OrderPaid]
    keep = Keep(days=1)

    async def may_join(self, user: Any) -> bool:
        return bool(user.is_authenticated)
