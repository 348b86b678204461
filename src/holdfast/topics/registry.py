"""The registry of topics, found in the ``live.py`` of each installed app, as ``admin.py`` is."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import SequenceMatcher

from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from holdfast.process.limited_log import log_limited, place_of
from holdfast.protocol.construction import shortened

from .event import Event
from .routes import Match, Route
from .topic import Topic
from .versions import newest_of

logger = logging.getLogger("holdfast.topics")

MODULE = "live"
"""The module of an app that is searched for topics."""


class Registry:
    """The topics of this process. Reading is safe from any thread."""

    def __init__(self) -> None:
        self._topics: tuple[type[Topic], ...] = ()
        self._by_first: dict[str, list[type[Topic]]] = {}
        self.versions: Mapping[str, int] = {}
        """The newest version of each event that has more than its first."""
        self._lock = threading.Lock()

    def register(self, *topics: type[Topic]) -> None:
        """Add topics that are not defined in an app's ``live.py``."""
        for topic in topics:
            given: object = topic
            if not (isinstance(given, type) and issubclass(given, Topic)):
                raise TypeError(
                    f"registry.register: {shortened(given)} is not a topic's class; write registry.register(Room, …)"
                )
            if not hasattr(topic, "declared"):
                raise TypeError(
                    f'{topic.__name__} has no route; give it one before registering it: route = "…"'
                )
        with self._lock:
            self._set(dict.fromkeys((*self._topics, *topics)))

    def discover(self) -> None:
        """Import ``live`` of every installed app that has one, and register the topics found there.

        A topic is found if it is defined in or imported into that module, or into a module below it if it is a package.
        """
        autodiscover_modules(MODULE)
        homes = tuple(f"{config.name}.{MODULE}" for config in apps.get_app_configs())
        for name, module in list(sys.modules.items()):
            if name in homes or name.startswith(tuple(f"{home}." for home in homes)):
                self.register(*_topics_in(vars(module).values()))

    @contextmanager
    def override(self, topics: Iterable[type[Topic]]) -> Iterator[None]:
        """Replace the registered topics by these inside a ``with`` block, for tests."""
        before = self._topics
        with self._lock:
            self._set(topics)
        try:
            yield
        finally:
            with self._lock:
                self._set(before)

    def topics(self) -> tuple[type[Topic], ...]:
        """Return every topic's class, in the order in which they were found."""
        return self._topics

    def resolve(self, name: str, user_id: str | None) -> Topic | None:
        """Return the topic that ``name`` means for a caller; ``None`` if no topic has that name for this caller.

        ``user_id`` is the caller's, ``None`` for an anonymous one. Permission is not checked here. Never raises, whatever
        the name.
        """
        return self._find(name, lambda route: route.match(name, user_id))

    def nearest(self, name: str) -> type[Topic] | None:
        """Return the topic whose route is most similar to a name that matches none, for messages to developers."""

        def likeness(topic: type[Topic]) -> float:
            route, asked = topic.declared.route.text.split("/"), name.split("/")
            if len(route) == len(asked):  # a parameter fits any part in its place
                route = [part if part[:1] != "<" else given for part, given in zip(route, asked, strict=True)]
            return SequenceMatcher(None, "/".join(route), name).ratio()

        return max(self._topics, key=likeness, default=None)

    def by_name(self, name: str) -> Topic | None:
        """Return the topic of a canonical name, such as one that the log knows."""
        return self._find(name, lambda route: route.match_canonical(name))

    def _find(self, name: str, match: Callable[[Route], Match | None]) -> Topic | None:
        first = name.partition("/")[0]
        for topic in (*self._by_first.get(first, ()), *self._by_first.get("", ())):
            try:
                found = match(topic.declared.route)
            except Exception as error:  # noqa: BLE001 - of a project's own converter; a client's name must not cause a crash
                message = "A path converter of %s.route failed on %r"
                kind = place_of(error)
                log_limited(logger, logging.ERROR, kind, message, topic.__qualname__, name, error=error)
                continue
            if found is not None:
                made: Topic = topic.from_match(found)
                return made
        return None

    def _set(self, topics: Iterable[type[Topic]]) -> None:
        found = tuple(topics)
        by_first: dict[str, list[type[Topic]]] = {}
        for topic in found:
            by_first.setdefault(_first(topic.declared.route), []).append(topic)
        self._topics, self._by_first, self.versions = found, by_first, _versions(found)


def _versions(topics: Iterable[type[Topic]]) -> Mapping[str, int]:
    """Return the newest versions of all events. Raises ``TypeError`` for two events with versions and one name: a client says by an
    event's name which version it knows."""
    events: dict[str, type[Event]] = {}
    for topic in topics:
        for name, event in topic.declared.events.items():
            other = events.setdefault(name, event)
            if other is not event and (other.__version__ > 1 or event.__version__ > 1):
                raise TypeError(
                    f"{other.__module__}.{other.__qualname__} and {event.__module__}.{event.__qualname__} are both {name!r} on the "
                    f'wire, and one of them has versions; give one another name: class {event.__name__}(Event, name="…")'
                )
    return newest_of(events.values())


def _first(route: Route) -> str:
    """Return the first segment of the route if it is all text, else ``""``: the key by which candidates are looked up."""
    segment, slash, _ = route.prefix.partition("/")
    return segment if slash or route.prefix == route.text else ""


def _topics_in(values: Iterable[object]) -> list[type[Topic]]:
    return [v for v in values if isinstance(v, type) and issubclass(v, Topic) and hasattr(v, "declared")]


registry = Registry()
"""The registry of this process."""
