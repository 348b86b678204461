"""Inbox of a live client: events that have arrived, and their comparison with expectations."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from holdfast.topics.event import Event, versions_of
from holdfast.topics.topic import Topic

from .values import Received


class Mismatch(AssertionError):
    """The event that has arrived is not the expected one."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An expectation: the event's name, its class on each topic that declares it, and the values of some of its fields."""

    name: str
    kinds: Mapping[str, type[Event]]
    fields: Mapping[str, Any]

    def concerns(self, received: Received) -> bool:
        """Has this event the expected name and topic? Its fields are not compared."""
        return received.name == self.name and received.topic in self.kinds

    def decode(self, received: Received) -> Event:
        """Return the event as an instance of its class. Raises ``AssertionError`` when its payload does not fit."""
        kind = self.kinds[received.topic]
        try:
            return kind.decode(received.raw)
        except msgspec.MsgspecError as error:
            raise Mismatch(f"{received} is not a {kind.__name__} as it is declared now: {error}") from None

    def differences(self, received: Received) -> list[str]:
        """Return the fields with other values than expected. A value may be given as Python's or as JSON's."""
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


def _known(topic: Topic, versions: Mapping[str, int] | None) -> Mapping[str, type[Event]]:
    """Return the classes of the events of a topic, in the versions that a client knows."""
    if versions is None:
        return topic.declared.events
    return {
        name: versions_of(event).get(versions.get(name, 1), event)
        for name, event in topic.declared.events.items()
    }


def wanted(
    event: str | type[Event],
    fields: Mapping[str, Any],
    joined: Iterable[Topic],
    versions: Mapping[str, int] | None = None,
    *,
    who: str,
) -> Wanted:
    """Make an expectation about an event on some of the topics that ``who`` has joined. ``versions`` are those that it knows, ``None``
    for the newest.

    Raises ``ValueError`` when no such event could arrive, ``TypeError`` when it has no such field. Otherwise an
    expectation that nothing arrives could never fail.
    """
    name = event if isinstance(event, str) else event.__wire_name__
    declared = {topic.name: _known(topic, versions) for topic in joined}
    if not declared:
        raise ValueError(f"{who} has joined no topic, so no event can arrive; join one first")
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
    """Events in the order of their arrival. Events of one name are taken in that order; the order of events of different
    names is not compared."""

    def __init__(self) -> None:
        self.unread: list[Received] = []
        self.received: list[Received] = []

    def add(self, received: Received) -> None:
        self.unread.append(received)
        self.received.append(received)

    def take(self, wanted: Wanted) -> Event | None:
        """Take the next event of the expected name, if there is one.

        Raises :class:`Mismatch` when its fields have other values. The event then stays in the inbox.
        """
        for index, received in enumerate(self.unread):
            if wanted.concerns(received):
                if differences := wanted.differences(received):
                    raise Mismatch(f"the next {wanted.name!r} is another one: {'; '.join(differences)}")
                del self.unread[index]
                return wanted.decode(received)
        return None

    def find(self, wanted: Wanted) -> Received | None:
        """Return the first event that fits the expectation with all fields, wherever it is in the inbox."""
        return next((r for r in self.unread if wanted.concerns(r) and not wanted.differences(r)), None)

    def lines(self) -> Iterator[str]:
        """Yield the lines that list the events, for the message of a failed test."""
        read = len(self.received) - len(self.unread)
        if not self.received:
            yield "No event has arrived."
            return
        if not self.unread:
            yield "No event is unread."
        else:
            yield "Unread, in the order of arrival:"
            yield from (f"  {number}. {received}" for number, received in enumerate(self.unread[:SHOWN], 1))
            if len(self.unread) > SHOWN:
                yield f"  and {len(self.unread) - SHOWN} more"
        if read:
            yield f"Expected before: {read} {'event' if read == 1 else 'events'}."


SHOWN = 20
"""How many events a message lists."""
