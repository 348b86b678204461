"""Events ready for delivery: encoded once per format, however many subscribers receive them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from holdfast.protocol.frames import EventFrame, PresenceFrame

Form = TypeVar("Form")

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class Passing(Protocol):
    """An event that is in no log, as it was published."""

    @property
    def name(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def exclude(self) -> str: ...


class Reader(Protocol):
    """Reads events of a topic whose form has changed since they were written."""

    def read(self, name: str, payload: bytes) -> tuple[str, bytes]:
        """Return the name on the wire and the payload, as they are now, of an event that was written with these. Never raises."""


class Prepared:
    """An event and its encoded forms. Each form is made on first need and then shared, so callers must not change it.

    ``offset`` is ``None`` for an event that is in no log; ``stamp`` is its entry's, or 0 if it is not known; ``exclude``
    is the client that must not receive it, or ``""``.
    """

    __slots__ = ("_forms", "exclude", "name", "offset", "payload", "stamp", "topic")

    def __init__(
        self,
        topic: str,
        name: str,
        payload: bytes,
        offset: int | None = None,
        exclude: str = "",
        stamp: int = 0,
    ) -> None:
        self.topic = topic
        self.name = name
        self.payload = payload
        self.offset = offset
        self.exclude = exclude
        self.stamp = stamp
        self._forms: dict[Callable[[Prepared], Any], Any] = {}

    def form(self, make: Callable[["Prepared"], Form]) -> Form:
        """Return what ``make`` makes of this event, such as a transport's frame. It is made once."""
        found = self._forms.get(make)
        if found is None:
            found = self._forms[make] = make(self)
        made: Form = found
        return made

    @property
    def json(self) -> bytes:
        """The message as JSON."""
        return self.form(_as_json)

    @property
    def msgpack(self) -> bytes:
        """The message as MessagePack."""
        return self.form(_as_msgpack)

    def frame(self, payload: bytes) -> EventFrame | PresenceFrame:
        return EventFrame(
            topic=self.topic,
            name=self.name,
            offset=self.offset,
            stamp=self.stamp,
            payload=msgspec.Raw(payload),
        )

    def __repr__(self) -> str:
        return f"<Prepared {self.topic} {self.name} at {self.offset}>"


def _as_json(event: Prepared) -> bytes:
    return _json.encode(event.frame(event.payload))


def _as_msgpack(event: Prepared) -> bytes:
    return _msgpack.encode(event.frame(_msgpack.encode(msgspec.json.decode(event.payload))))


class Burst:
    """Events of one topic that are written together, in order."""

    __slots__ = ("_made", "events")

    def __init__(self, events: Sequence[Prepared]) -> None:
        self.events = events
        self._made: dict[Callable[[Prepared], Any], Any] = {}

    def joined(self, make: Callable[[Prepared], bytes]) -> bytes:
        """Return all the events in the form that ``make`` makes, one after the other. They are joined once."""
        found: bytes | None = self._made.get(make)
        if found is None:
            events = self.events
            found = (
                events[0].form(make) if len(events) == 1 else b"".join([event.form(make) for event in events])
            )
            self._made[make] = found
        return found

    def converted(self, convert: Callable[[Prepared], Prepared]) -> "Burst":
        """Return the events as ``convert`` makes them, such as those of an older version. They are converted once."""
        found: Burst | None = self._made.get(convert)
        if found is None:
            found = self._made[convert] = Burst([event.form(convert) for event in self.events])
        return found

    def without(self, client: str) -> "Burst":
        """Return the events that ``client`` may receive."""
        return Burst([event for event in self.events if event.exclude != client])

    def __repr__(self) -> str:
        return f"<Burst of {list(self.events)!r}>"
