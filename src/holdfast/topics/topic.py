"""The noun of it all: something that people subscribe to.

A topic is a class, and each thing that it stands for is an instance: ``Room(room="lobby")`` is the topic named
``rooms/lobby``. An instance is a cheap value and holds no connection: make one wherever you need one.
"""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import Any, ClassVar, Never, Self, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from holdfast.backplane.groups import group_name
from holdfast.hub import runtime
from holdfast.hub.slow import Slow
from holdfast.hub.waiting import in_waiting_thread
from holdfast.log.base import Draft
from holdfast.protocol.construction import shortened
from holdfast.protocol.positions import Position

from .access import Access, of_topic
from .caller import Caller, client_of
from .declaration import Declaration, read
from .event import Event
from .keep import Keep
from .presence import Member, Presence
from .routes import Match

T = TypeVar("T")

ALL = 2**53
"""More members than there are people."""


class Topic(Access):
    """Subclass it in an app's ``live.py``::

        class Room(Topic):
            route = "rooms/<slug:room>"  # what clients join; its parameters are self.params and attributes
            events = [MessagePosted, Typing]
            keep = Keep(days=30)  # durable; leave it out for a topic that stores nothing

            def may_join(self, user) -> bool:
                members = Membership.objects.filter(room=self.room)
                return user.is_authenticated and members.filter(user=user).exists()

            @action(rate="5/s")
            def post(self, caller, body: str) -> int: ...

    A subclass may have these methods, each a ``def`` (run in a thread) or an ``async def`` (run on the event loop):

    - ``may_join(self, user) -> bool``: who may subscribe and call. Without it nobody may.
    - ``may_call(self, caller, action: str) -> bool``: who of those may call which action. Without it all may.
    - ``presence_meta(self, user)``: what members of a topic with a ``presence`` are told of each other, small and plain
      enough for JSON.
    - ``snapshot(self)``: the topic's state, sent to a client that does not come back from a known position. On a
      durable topic it is a ``def``, because it is read together with the position.

    ``slow`` says what becomes of events that are in no log for a client that does not read (:class:`Slow`); without it the
    oldest are dropped. ``presence`` makes the topic know who has joined it (:class:`Presence`).

    A subclass without a ``route`` is abstract, for sharing rules and actions.
    """

    route: ClassVar[str]
    events: ClassVar[Sequence[type[Event]]] = ()
    keep: ClassVar[Keep | None] = None
    slow: ClassVar[Slow | None] = None
    presence: ClassVar[Presence | None] = None

    declared: ClassVar[Declaration]
    """What the class says, as read when it was made."""

    _name: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if getattr(cls, "route", None) is not None:
            cls.declared = read(cls, Topic)

    def __init__(self, /, *given: Never, **parameters: Any) -> None:
        """Name one topic by the parameters of its route.

        The converted values are in :attr:`params`, and are attributes too where a topic has nothing of that name. Raises
        ``TypeError`` for a missing or unknown parameter, ``ValueError`` for a value that its converter does not take.
        """
        cls = type(self)
        if not hasattr(cls, "declared"):
            raise TypeError(
                f'{cls.__name__} has no route, so it is abstract; give it one: route = "rooms/<slug:room>"'
            )
        if given:
            raise TypeError(cls.declared.route.by_name(cls.__name__, given))
        self._take(cls.declared.route.build(cls.__name__, parameters))

    @classmethod
    def from_match(cls, match: Match) -> Self:
        """Make the topic of a name that has been matched already."""
        topic = cls.__new__(cls)
        topic._take(match)
        return topic

    def _take(self, match: Match) -> None:
        # One by one, not with __dict__.update(): that would give each instance a dict, 180 bytes of every join.
        places = self.declared.places
        for name, value in match.values.items():
            object.__setattr__(self, places[name], value)
        self._name = match.name

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        """The canonical name, such as ``rooms/lobby``."""
        return self._name

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the route, converted: ``{"room": "lobby"}``. It can only be read.

        Each is an attribute as well (``self.room``), unless a topic has something else of that name: with the route
        ``projects/<slug:name>`` the parameter is ``self.params["name"]``, and ``self.name`` is ``"projects/boat"``.
        """
        return MappingProxyType({name: getattr(self, place) for name, place in self.declared.places.items()})

    @property
    def group(self) -> str:
        """The name of its group in Channels' layer, for code that calls ``group_send``."""
        return group_name(self._name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topic) and other._name == self._name and type(other) is type(self)

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    def __str__(self) -> str:
        return self._name

    # ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, *events: Event, exclude: Caller | str | None = None) -> None:
        """Send events to everybody who has joined; inside ``atomic()`` only if it commits.

        A durable event (of a topic with a ``keep``) is written to the log first, and on return outside of a transaction
        it is durable. ``exclude`` is a caller, or the id of a client, that does not get them.

        All of them are checked before any is sent: raises ``TypeError`` for an event that the topic does not declare or
        a field of the wrong type, ``ValueError`` for one that breaks a constraint. Raises ``SynchronousOnlyOperation``
        when it would have to wait for the log on an event loop: use :meth:`apublish` there.
        """
        of_topic("publish", self)
        self.publish_many(events, exclude=exclude)

    async def apublish(self, *events: Event, exclude: Caller | str | None = None) -> None:
        """As :meth:`publish`, for ``async`` code. Django has no transactions there, except when a thread waits for this code in
        ``async_to_sync`` inside ``atomic()``: then the events are sent only if that commits."""
        of_topic("apublish", self)
        await self.apublish_many(events, exclude=exclude)

    def publish_many(self, events: Iterable[Event], *, exclude: Caller | str | None = None) -> None:
        """As :meth:`publish`, for many at once: they are written together and keep their order."""
        of_topic("publish_many", self)
        runs = self._drafts("publish", events, exclude)
        if any(durable for durable, _ in runs):
            self._forbid_event_loop("publish(…)", "apublish(…)")
        publisher = runtime.current().publisher
        for durable, drafts in runs:
            publisher.publish(drafts, durable=durable)

    async def apublish_many(self, events: Iterable[Event], *, exclude: Caller | str | None = None) -> None:
        """As :meth:`publish_many`, for ``async`` code."""
        of_topic("apublish_many", self)
        publisher = runtime.current().publisher
        for durable, drafts in self._drafts("apublish", events, exclude):
            await publisher.apublish(drafts, durable=durable)

    def _drafts(
        self, method: str, events: Iterable[Event], exclude: Caller | str | None
    ) -> list[tuple[bool, list[Draft]]]:
        """Check the events and cut them into runs that are all durable or all ephemeral."""
        if not isinstance(events, Iterable):
            raise TypeError(
                f"{type(self).__name__}.{method}_many: expected several events, got {shortened(events)}; write "
                f"{type(self).__name__}.{method}_many([MessagePosted(…), …])"
            )
        excluded = "" if exclude is None else client_of(f"{type(self).__name__}.{method}", exclude)
        checked = [(self._stores(method, event), self._draft(event, excluded)) for event in events]
        return [
            (durable, [draft for _, draft in run])
            for durable, run in groupby(checked, key=lambda pair: pair[0])
        ]

    def _draft(self, event: Event, excluded: str) -> Draft:
        payload, limit = event.encode(), runtime.current().event_bytes
        if len(payload) > limit:
            raise ValueError(
                f"{self!r}: {type(event).__name__} is {len(payload)} bytes of JSON, and an event may have {limit}; publish "
                'where the data can be fetched instead, or raise HOLDFAST["EVENT_BYTES"]'
            )
        return Draft(topic=self._name, name=event.__wire_name__, payload=payload, exclude=excluded)

    def _stores(self, method: str, event: Any) -> bool:
        """Does this event go into the log? Raises ``TypeError`` when the topic does not know it."""
        owner, kind = type(self).__name__, type(event)
        if not isinstance(event, Event):
            what = f"the class {event.__name__}" if isinstance(event, type) else shortened(event)
            example = f"{event.__name__}(…)" if isinstance(event, type) else "MessagePosted(…)"
            several = (
                f", or for a list of them {owner}.{method}_many([…])"
                if isinstance(event, list | tuple)
                else ""
            )
            raise TypeError(
                f"{owner}.{method}: expected an event, got {what}; write {owner}.{method}({example}){several}"
            )
        if self.declared.events.get(kind.__wire_name__) is not kind:
            known = ", ".join(declared.__name__ for declared in self.declared.events.values()) or "nothing"
            raise TypeError(
                f"{owner}.{method}: {kind.__name__} is not among {owner}.events ({known}); add it there so that clients "
                "and checks know of it"
            )
        return self.declared.durable and kind.__durable__

    def _forbid_event_loop(self, method: str, instead: str, waits_for: str = "the log") -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        if os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
            return  # as Django's own check; notebooks set it
        raise SynchronousOnlyOperation(
            f"{self!r}: {method} waits for {waits_for} and cannot be used on an event loop; write: await {instead}"
        )

    # ── who is here ──────────────────────────────────────────────────────────────────────────────────────────────────

    def members(self) -> list[Member]:
        """Who has joined, on all servers, in no particular order; all of them, however many.

        Somebody who has just come or gone may be missing or still there for some milliseconds, and the members of a
        server that was killed for as long as its lease lasts. Raises ``TypeError`` on a topic without a ``presence``, and
        ``PresenceUnavailable`` (``holdfast.presence.base``) when the store does not answer.
        """
        self._need_presence("members")
        self._forbid_event_loop("members()", "amembers()", waits_for="the presence store")
        return self._members()

    async def amembers(self) -> list[Member]:
        """As :meth:`members`, for ``async`` code."""
        self._need_presence("amembers")
        return await in_waiting_thread(self._members, partial(runtime.current().threads.run, self._members))

    def member_count(self) -> int:
        """How many have joined, as :meth:`members` would list them."""
        self._need_presence("member_count")
        self._forbid_event_loop("member_count()", "amember_count()", waits_for="the presence store")
        return self._member_count()

    async def amember_count(self) -> int:
        """As :meth:`member_count`, for ``async`` code."""
        self._need_presence("amember_count")
        threads = runtime.current().threads
        return await in_waiting_thread(self._member_count, partial(threads.run, self._member_count))

    def _members(self) -> list[Member]:
        found = runtime.current().roster(self._name, ALL).members or {}
        return [Member.read(info) for info in found.values()]

    def _member_count(self) -> int:
        return runtime.current().roster(self._name, -1).count

    def _need_presence(self, method: str) -> None:
        if self.declared.presence is None:
            raise TypeError(
                f"{type(self).__name__}.{method}: the topic does not know who is there; write presence = Presence()"
            )

    # ── positions ────────────────────────────────────────────────────────────────────────────────────────────────────

    def position(self) -> Position:
        """Where the topic stands now: put it into a page *before* reading what the page shows.

        A client that joins from it gets everything that came after. Raises ``TypeError`` on a topic without a ``keep``.
        """
        self._need_log("position")
        self._forbid_event_loop("position()", "aposition()")
        return self._head()

    async def aposition(self) -> Position:
        """As :meth:`position`, for ``async`` code."""
        self._need_log("aposition")
        return await in_waiting_thread(self._head, partial(runtime.current().log_threads.run, self._head))

    def consistent(self, take: Callable[[], T]) -> tuple[Position, T]:
        """Call ``take`` and return its value with the position that agrees with it exactly.

        For a view whose page must neither miss an event nor show it twice::

            position, messages = room.consistent(lambda: list(Message.objects.filter(room="lobby")))

        ``take`` runs in a transaction of the log's database and should only read, at once: a queryset that it returns
        is evaluated later, when it is too late, so make it a ``list``.
        """
        self._need_log("consistent")
        self._need_function("consistent", take)
        self._forbid_event_loop("consistent(…)", "aconsistent(…)")
        parts = runtime.current()
        return parts.log.consistent_read(self._name, take, parts.publisher.spread)

    async def aconsistent(self, take: Callable[[], T]) -> tuple[Position, T]:
        """As :meth:`consistent`, for ``async`` code; ``take`` is an ordinary function and runs in a thread."""
        self._need_log("aconsistent")
        self._need_function("aconsistent", take)
        parts = runtime.current()
        exactly = partial(parts.log.consistent_read, self._name, take, parts.publisher.spread)
        return await in_waiting_thread(exactly, partial(parts.threads.run, exactly))

    def _head(self) -> Position:
        return runtime.current().log.heads([self._name])[self._name].position

    def _need_function(self, method: str, take: object) -> None:
        if not callable(take) or inspect.iscoroutinefunction(take):
            raise TypeError(
                f"{type(self).__name__}.{method}: expected a function that reads, got {shortened(take)}; write "
                f"{method}(lambda: list(Message.objects.all())), which is a def, not an async def"
            )

    def _need_log(self, method: str) -> None:
        if not self.declared.durable:
            raise TypeError(
                f"{type(self).__name__}.{method}: the topic stores nothing, so it has no positions; make it durable, "
                "such as with keep = Keep(days=30)"
            )
