"""``Keep``: the retention of a durable topic."""

from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from holdfast.protocol.construction import Explained


class Keep(msgspec.Struct, metaclass=Explained, frozen=True, kw_only=True):
    """Retention. A topic with a ``Keep`` is durable: its events get offsets, and clients catch up on what they missed.

    An event is kept for at least ``days`` plus ``hours``, and while it is among the newest ``count``, whichever limit
    is reached first. ``manage.py holdfast trim`` removes events that are past it. ``Keep()`` without a limit keeps all events.

    ``public=True`` serves the events to every reader at ``/live/history``, in pages that proxies, CDNs and browsers keep
    (``docs/how-to/history.md``). It needs ``may_join = anyone``. A copy in a cache outlives the event: for at most the age of the
    retention after it was fetched, or a year without one.
    """

    __example__: ClassVar[str] = "Keep(days=30)"

    days: float = 0
    hours: float = 0
    count: int | None = None
    public: bool = False

    def __post_init__(self) -> None:
        for field in ("days", "hours"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
                raise ValueError(f"Keep({field}={value!r}): expected a number of {field}, such as {field}=30")
        count: object = self.count
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ValueError(f"Keep(count={count!r}): expected how many events to keep, at least 1")
        public: object = self.public
        if not isinstance(public, bool):
            raise TypeError(f"Keep(public={public!r}): expected True or False")

    @property
    def age(self) -> timedelta | None:
        """The age that an event may reach; ``None`` without a limit."""
        return timedelta(days=self.days, hours=self.hours) or None

    def before(self, now: datetime) -> datetime | None:
        """Return the time before which events are past their age; ``None`` without a limit."""
        return now - self.age if self.age else None
