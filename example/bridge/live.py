"""Topics of the bridge: the servers' own numbers, for staff."""

from typing import Any

from holdfast import Event, Presence, Topic, action


class ServerReport(Event, durable=False):
    """One server's numbers, each second: those of `holdfast.metrics`, and what its process costs."""

    server: str
    numbers: dict[str, float]


class Heads(Event, durable=False):
    """The last offset of the longest logs, by topic."""

    heads: dict[str, int]


class Pulse(Event, durable=False):
    """The answer to a page's pulse, which travels like every event; `sent` is by the page's own clock."""

    sent: float


class Bridge(Topic):
    route = "bridge"
    events = [ServerReport, Heads, Pulse]
    presence = Presence()

    def may_join(self, user: Any) -> bool:
        return user.is_staff

    @action(once=False, rate="10/s")
    async def pulse(self, caller: Any, sent: float) -> None:
        """Publish the page's own clock, so that it can measure how long an event takes."""
        await self.apublish(Pulse(sent=sent))
