"""Versions of events: clients that know an older one get that, and stored events of an older one are read as the newest.

The newest version is what the hub holds and what most clients receive. An event's name in the log has the version, unless that is
the first: ``message.posted@2``. A client says in the query of its URL which versions it knows (:func:`known_to`); it knows the first
version of every event that it does not name.

``upcast`` and ``downcast`` are a project's own. They run on the event loop, and may fail. An event that cannot be converted goes out
under the name that it has in the log, so that no handler takes it for something else.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self
from urllib.parse import parse_qs

from holdfast.process.limited_log import log_limited, place_of
from holdfast.streams.prepared import Prepared

from .event import Event, versions_of

logger = logging.getLogger("holdfast.topics")

PARAMETER = "versions"
"""The parameter of the query in which a client names the versions that it knows."""


def known_to(query_string: str) -> Mapping[str, int]:
    """Return the versions that a client names: ``versions=message.posted:2,order:3``. Parts that make no sense are ignored."""
    if PARAMETER not in query_string:
        return {}
    known: dict[str, int] = {}
    for part in ",".join(parse_qs(query_string).get(PARAMETER, ())).split(","):
        name, _, version = part.rpartition(":")
        if name and version.isascii() and version.isdigit() and len(version) < 10:
            known[name] = int(version)
    return known


def written(newest: Mapping[str, int]) -> str:
    """Return versions as the query of a URL has them."""
    return ",".join(f"{name}:{version}" for name, version in sorted(newest.items()))


def newest_of(events: Iterable[type[Event]]) -> Mapping[str, int]:
    """Return the version of each event that has a later one than the first."""
    return {event.__wire_name__: event.__version__ for event in events if event.__version__ > 1}


class Versions:
    """The events of one topic that have versions, by their names on the wire."""

    __slots__ = ("_events", "_older")

    def __init__(self, events: Mapping[str, Mapping[int, type[Event]]]) -> None:
        self._events = events
        self._older: dict[tuple[tuple[str, int], ...], OlderVersions] = {}

    @classmethod
    def of(cls, events: Iterable[type[Event]]) -> Self | None:
        """Return the versions of these events; ``None`` if each has only its first."""
        found = {event.__wire_name__: versions_of(event) for event in events if event.__version__ > 1}
        return cls(found) if found else None

    def read(self, name: str, payload: bytes) -> tuple[str, bytes]:
        """Return the name on the wire and the newest form of an event that has this name and this payload in the log."""
        wire, _, version = name.partition("@")
        known = self._events.get(wire)
        if known is None:
            return name, payload
        stored, newest = int(version) if version.isdigit() else 1, max(known)
        if stored == newest:
            return wire, payload
        try:
            return wire, self.event(wire, stored, payload).encode()
        except Exception as error:  # noqa: BLE001 - of a project's own code; one event must not stop the others
            message = "%s cannot be read as version %d; it goes out as %r, which no handler expects"
            log_limited(
                logger,
                logging.ERROR,
                place_of(error),
                message,
                f"{wire}@{stored}",
                newest,
                f"{wire}@{stored}",
                error=error,
            )
            return f"{wire}@{stored}", payload

    def event(self, name: str, version: int, payload: bytes) -> Event:
        """Return an event that was written as this version, in its newest form. Raises ``ValueError`` for a version that is not
        known, and what :meth:`Event.decode` and the event's ``upcast`` raise."""
        known = self._events[name]
        if version not in known:
            raise ValueError(
                f"{name} has no version {version} here; known: {', '.join(map(str, sorted(known)))}"
            )
        event = known[version].decode(payload)
        for later in range(version + 1, max(known) + 1):
            event = known[later].upcast(event)
        return event

    def relevant(self, known: Mapping[str, int]) -> Mapping[str, int]:
        """Return the versions that matter here: of this topic's events, above the first, and none above the newest."""
        wanted = {name: min(known.get(name, 1), max(each)) for name, each in self._events.items()}
        return {name: version for name, version in wanted.items() if version > 1}

    def stored_for(self, known: Mapping[str, int]) -> Callable[[Prepared], Prepared]:
        """Return what makes of a stored event the version for a client that knows these."""
        older = self.older(known)

        def form(event: Prepared) -> Prepared:
            name, payload = self.read(event.name, event.payload)
            newest = Prepared(event.topic, name, payload, event.offset, event.exclude, event.stamp)
            return newest if older is None else older.convert(newest)

        return form

    def outdated(self, known: Mapping[str, int]) -> str | None:
        """Return the name of an event of which a client knows no version that is still there; ``None`` if there is none."""
        return next((name for name, each in self._events.items() if known.get(name, 1) < min(each)), None)

    def older(self, known: Mapping[str, int]) -> "OlderVersions | None":
        """Return the forms for a client; ``None`` for one that knows the newest version of every event."""
        wanted = tuple(
            (name, known.get(name, 1))
            for name, each in self._events.items()
            if known.get(name, 1) < max(each)
        )
        if not wanted:
            return None
        # The same object for all clients that know the same: what it makes of an event is then made once.
        if wanted not in self._older:
            chains = {name: list(_down(self._events[name], version)) for name, version in wanted}
            self._older[wanted] = OlderVersions(chains)
        return self._older[wanted]


class OlderVersions:
    """What one kind of older client receives. ``chains``: for each name the classes from the newest version to the one after the
    version that the client knows."""

    __slots__ = ("_chains",)

    def __init__(self, chains: Mapping[str, list[type[Event]]]) -> None:
        self._chains = chains

    def convert(self, event: Prepared) -> Prepared:
        """Return an event in the version that the client knows; the same object for an event without versions."""
        chain = self._chains.get(event.name)
        if chain is None:
            return event
        try:
            value: Event = chain[0].decode(event.payload)
            for _ in chain:
                value = value.downcast()
            name, payload = event.name, value.encode()
        except Exception as error:  # noqa: BLE001 - of a project's own code; one event must not stop the others
            name, payload = chain[0].__stored_name__, event.payload
            message = (
                "%s cannot be written as version %d; older clients get it as %r, which no handler expects"
            )
            log_limited(
                logger,
                logging.ERROR,
                place_of(error),
                message,
                event.name,
                chain[-1].__version__ - 1,
                name,
                error=error,
            )
        return Prepared(event.topic, name, payload, event.offset, event.exclude, event.stamp)


def _down(events: Mapping[int, type[Event]], version: int) -> Iterator[type[Event]]:
    for each in range(max(events), version, -1):
        yield events[each]
