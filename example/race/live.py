"""Topics of the race: more positions than a person can follow, of which each reader gets as many as it can take."""

from typing import Any

from holdfast import Event, Presence, Slow, Topic


class BoatMoved(Event, durable=False):
    """The speed of one boat, at `at` seconds of the publisher's clock. `tick` counts, so a reader sees what was left out."""

    boat: int
    tick: int
    knots: float
    at: float


class Served(Event, durable=False):
    """Counters of one server since its start, from `holdfast.metrics`."""

    server: str
    delivered: int
    superseded: int
    conflated: int


class Race(Topic):
    """Nothing is stored: of each boat only the newest matters, at most five times a second."""

    route = "race"
    events = [BoatMoved, Served]
    slow = Slow.conflate("boat", rate="5/s")
    presence = Presence()

    def may_join(self, user: Any) -> bool:
        return user.is_authenticated
