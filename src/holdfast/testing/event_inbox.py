"""What has arrived and was not expected yet, and how an expectation is held against it."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from holdfast.topics.event import Event
from holdfast.topics.topic import Topic

from .values import Received


class Mismatch(AssertionError):
    """The event that is there is not the one that was expected."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An expectation: the event's name, what it is decoded to on each topic that declares it, the values of some of its
    fields."""

    name: str
    kinds: Mapping[str, type[Event]]
    fields: Mapping[str, Any]

    def concerns(self, received: Received) -> bool:
        """Is this the event that the expectation is about, whatever its fields?"""
        return received.name == self.name and received.topic in self.kinds

    def decode(self, received: Received) -> Event:
        """The event as its class. Raises ``AssertionError`` when it does not fit."""
        kind = self.kinds[received.topic]
        try:
            return kind.decode(received.raw)
        except msgspec.MsgspecError as error:
            raise Mismatch(f"{received} is not a {kind.__name__} as it is declared now: {error}") from None

    def differences(self, received: Received) -> list[str]:
        """Which fields have other values than expected. A value may be given as Python's or as JSON's."""
        event = self.decode(received)
        wire = {field.name: field.encode_name for field in msgspec.structs.fields(type(event))}
        return [
            f"{name} is {getattr(event, name)!r}, expected {value!r}"
            for name, value in self.fields.items()
            if getattr(event, name) != value and received.payload.get(wire[name], msgspec.UNSET) != value
        ]

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        where = f" on {next(iter(self.kinds))}" if len(self.kinds) == 1 else ""
        return f"{self.name!r}{where}{f' with {fields}' if fields else ''}"


def wanted(
    event: str | type[Event], fields: Mapping[str, Any], joined: Iterable[Topic], *, who: str
) -> Wanted:
    """Make an expectation about an event on some of the topics that ``who`` has joined.

    Raises ``ValueError`` when no such event could come, ``TypeError`` when it has no such field: an expectation that
    nothing comes would otherwise hold for ever.
    """
    name = event if isinstance(event, str) else event.__wire_name__
    declared = {topic.name: topic.declared.events for topic in joined}
    if not declared:
        raise ValueError(f"{who} has joined no topic, so no event can come; join one first")
    kinds = {
        topic: events[name]
        for topic, events in declared.items()
        if name in events and (isinstance(event, str) or events[name] is event)
    }
    if not kinds:
        known = sorted({known for events in declared.values() for known in events})
        near = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"{event if isinstance(event, str) else event.__name__!r} is declared by none of {', '.join(declared)}; "
            f"{f'did you mean {near[0]!r}? ' if near and near[0] != name else ''}declared: {', '.join(known) or 'nothing'}"
        )
    for kind in kinds.values():
        for field in fields:
            if field not in kind.__struct_fields__:
                raise TypeError(
                    f"{kind.__name__} has no field {field!r}; it has {', '.join(kind.__struct_fields__) or 'none'}"
                )
    return Wanted(name=name, kinds=kinds, fields=fields)


class EventInbox:
    """Events in the order of their arrival. Those of one name are taken in that order; those of different names are not
    held against each other."""

    def __init__(self) -> None:
        self.unread: list[Received] = []
        self.received: list[Received] = []

    def add(self, received: Received) -> None:
        self.unread.append(received)
        self.received.append(received)

    def take(self, wanted: Wanted) -> Event | None:
        """Take the next event of the name that is wanted, if there is one.

        Raises :class:`Mismatch` when its fields are not what is wanted; then it stays where it is.
        """
        for index, received in enumerate(self.unread):
            if wanted.concerns(received):
                if differences := wanted.differences(received):
                    raise Mismatch(f"the next {wanted.name!r} is another one: {'; '.join(differences)}")
                del self.unread[index]
                return wanted.decode(received)
        return None

    def find(self, wanted: Wanted) -> Received | None:
        """The first event that is wanted, fields and all, wherever it stands."""
        return next((r for r in self.unread if wanted.concerns(r) and not wanted.differences(r)), None)

    def lines(self) -> Iterator[str]:
        """What has come, for a message to the reader of a failed test."""
        read = len(self.received) - len(self.unread)
        if not self.received:
            yield "No event has come."
            return
        if not self.unread:
            yield "No event is unread."
        else:
            yield "Unread, in the order in which they came:"
            yield from (f"  {number}. {received}" for number, received in enumerate(self.unread[:SHOWN], 1))
            if len(self.unread) > SHOWN:
                yield f"  and {len(self.unread) - SHOWN} more"
        if read:
            yield f"Expected before: {read} {'event' if read == 1 else 'events'}."


SHOWN = 20
"""How many events a message lists."""
