"""``Topic``: the base class of everything that clients subscribe to.

A kind of topic is a class, and each topic is an instance: ``Room(room="lobby")`` is the topic named ``rooms/lobby``. An
instance is a cheap value and holds no connection: make one wherever you need one.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import Any, ClassVar, Never, Self, TypeVar

from holdfast import runtime
from holdfast.backplane.groups import group_name
from holdfast.log.base import Draft
from holdfast.protocol.construction import shortened
from holdfast.protocol.positions import Position
from holdfast.streams.slow import Slow
from holdfast.threads.waiting_thread import in_waiting_thread

from .access import Access, of_topic
from .caller import Caller, client_of
from .declaration import Declaration, read
from .event import Event
from .event_loop import forbid_event_loop
from .html_publishing import HtmlPublishing
from .keep import Keep
from .permissions import Permissions
from .presence import Member, Presence
from .routes import Match

T = TypeVar("T")

ALL = 2**53
"""A limit above any number of members."""


class Topic(HtmlPublishing, Access):
    """Subclass it in an app's ``live.py``::

        class Room(Topic):
            route = "rooms/<slug:room>"  # what clients join; its parameters are self.params and attributes
            events = [MessagePosted, Typing]
            keep = Keep(days=30)  # durable; leave it out for a topic that stores no events

            def may_join(self, user) -> bool:
                members = Membership.objects.filter(room=self.room)
                return user.is_authenticated and members.filter(user=user).exists()

            @action(rate="5/s")
            def post(self, caller, body: str) -> int: ...

    A subclass may have these methods, each a ``def`` (run in a thread) or an ``async def`` (run on the event loop):

    - ``may_join(self, user) -> bool``: whether a user may subscribe and call. Only ``True`` is a yes. Without it, and without
      ``requires``, no user may. A rule that needs
      more than the user takes a second parameter, ``may_join(self, user, identity)``: the claims of a token, the host, the
      address and the query of the connection (:class:`holdfast.Identity`). It is asked at each join, before calls
      (``PERMISSION_CACHE_SECONDS``), and at each re-check: without ``identity`` once for all connections of a user to one host, with
      it once for each connection.
    - ``may_call(self, caller, action: str) -> bool``: whether a caller who has joined may call an action. Without it
      every subscriber may call every action.
    - ``presence_meta(self, user)``: what the members of a topic with a ``presence`` see of each other, small and plain
      enough for JSON.
    - ``snapshot(self)``: the topic's state, sent to a client that does not resume from a known position. On a durable
      topic it is a ``def``, because it is read together with the position.

    ``requires`` names Django permissions that a user must have, all of them: ``requires = "orders.view_order"``, or a list. It is
    a rule: without ``may_join``, every user who has the permissions may join; beside ``may_join``, both must say yes. An
    anonymous user has no permission. It is asked when ``may_join`` is, and not from the cache on the user object.

    ``slow`` says what happens to events that are in no log when a client does not read (:class:`Slow`); without it the
    oldest are dropped. ``presence`` makes the topic know its members (:class:`Presence`).

    A subclass without a ``route`` is abstract: it shares rules and actions.
    """

    route: ClassVar[str]
    events: ClassVar[Sequence[type[Event]]] = ()
    keep: ClassVar[Keep | None] = None
    slow: ClassVar[Slow | None] = None
    requires: ClassVar[Permissions] = None
    presence: ClassVar[Presence | None] = None

    declared: ClassVar[Declaration]
    """The contents of the class, read when it was defined."""

    _name: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if getattr(cls, "route", None) is not None:
            cls.declared = read(cls, Topic)

    def __init__(self, /, *given: Never, **parameters: Any) -> None:
        """Name one topic by the parameters of its route.

        The converted values are in :attr:`params`. Each is an attribute too, unless a topic has something else of that name.
        Raises ``TypeError`` for a missing or unknown parameter, ``ValueError`` for a value that its converter does not take.
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
        """Return the topic of a name that has been matched already."""
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
        """The converted parameters of the route, ``{"room": "lobby"}``, read-only.

        Each is an attribute as well (``self.room``), unless a topic has something else of that name: with the route
        ``projects/<slug:name>`` the parameter is ``self.params["name"]``, and ``self.name`` is ``"projects/boat"``.
        """
        return MappingProxyType({name: getattr(self, place) for name, place in self.declared.places.items()})

    @property
    def group(self) -> str:
        """The name of the topic's group in Channels' layer, for code that calls ``group_send``."""
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
        """Send events to all subscribers; inside ``atomic()`` only if it commits.

        A durable event (of a topic with a ``keep``) is written to the log first; outside of a transaction it is durable when
        this returns. Events given together are written together and keep their order. ``exclude`` is a caller, or the id of
        a client, that does not receive them.

        All events are checked before any is sent. Raises ``TypeError`` for an event that the topic does not declare or a
        field of the wrong type, ``ValueError`` for a field that breaks a constraint. Raises ``SynchronousOnlyOperation`` on
        an event loop if the call would have to wait for the log: use :meth:`apublish` there.
        """
        of_topic("publish", self)
        runs = self._drafts("publish", events, exclude)
        if any(durable for durable, _ in runs):
            self._forbid_event_loop("publish(…)", "apublish(…)")
        publisher = runtime.current().publisher
        for durable, drafts in runs:
            publisher.publish(drafts, durable=durable)

    async def apublish(self, *events: Event, exclude: Caller | str | None = None) -> None:
        """As :meth:`publish`, for ``async`` code. Django has no transactions there, except when a thread waits for this code
        in ``async_to_sync`` inside ``atomic()``: then the events are sent only if that transaction commits."""
        of_topic("apublish", self)
        publisher = runtime.current().publisher
        for durable, drafts in self._drafts("apublish", events, exclude):
            await publisher.apublish(drafts, durable=durable)

    def _drafts(
        self, method: str, events: Iterable[Event], exclude: Caller | str | None
    ) -> list[tuple[bool, list[Draft]]]:
        """Check the events, and divide them into runs that are all durable or all ephemeral."""
        excluded = "" if exclude is None else client_of(f"{type(self).__name__}.{method}", exclude)
        checked = [(self._stores(method, event), self._draft(event, excluded)) for event in events]
        return [
            (durable, [draft for _, draft in run])
            for durable, run in groupby(checked, key=lambda pair: pair[0])
        ]

    def _draft(self, event: Event, excluded: str) -> Draft:
        (name, payload), limit = event.stored(), runtime.current().event_bytes
        if len(payload) > limit:
            raise ValueError(
                f"{self!r}: {type(event).__name__} is {len(payload)} bytes of JSON, and an event may have {limit}; publish "
                'where the data can be fetched instead, or raise HOLDFAST["EVENT_BYTES"]'
            )
        return Draft(topic=self._name, name=name, payload=payload, exclude=excluded)

    def _stores(self, method: str, event: Any) -> bool:
        """Return whether the log stores this event. Raises ``TypeError`` when the topic does not declare it."""
        owner, kind = type(self).__name__, type(event)
        if not isinstance(event, Event):
            what = f"the class {event.__name__}" if isinstance(event, type) else shortened(event)
            example = f"{event.__name__}(…)" if isinstance(event, type) else "MessagePosted(…)"
            several = (
                f", or for a list of them {owner}.{method}(*events)"
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
        forbid_event_loop(
            f"{self!r}: {method} waits for {waits_for} and cannot be used on an event loop; write: await {instead}"
        )

    # ── members ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def members(self) -> list[Member]:
        """Return all members, on all servers, in no particular order, however many they are.

        For some milliseconds a member that has just joined may be missing, and one that has just left may still be listed.
        The members of a server that was killed are listed until its lease ends. Raises ``TypeError`` on a topic without a
        ``presence``, and ``PresenceUnavailable`` (``holdfast.presence.base``) when the store does not answer.
        """
        self._need_presence("members")
        self._forbid_event_loop("members()", "amembers()", waits_for="the presence store")
        return self._members()

    async def amembers(self) -> list[Member]:
        """As :meth:`members`, for ``async`` code."""
        self._need_presence("amembers")
        return await in_waiting_thread(self._members, partial(runtime.current().threads.run, self._members))

    def member_count(self) -> int:
        """Return the number of members that :meth:`members` would list."""
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
                f"{type(self).__name__}.{method}: the topic does not know its members; write presence = Presence()"
            )

    # ── positions ────────────────────────────────────────────────────────────────────────────────────────────────────

    def position(self) -> Position:
        """Return the topic's current position. Read it *before* the data that a page shows, and put it into the page.

        A client that joins from this position receives every later event. Raises ``TypeError`` on a topic without a ``keep``.
        """
        self._need_log("position")
        self._forbid_event_loop("position()", "aposition()")
        return self._head()

    async def aposition(self) -> Position:
        """As :meth:`position`, for ``async`` code."""
        self._need_log("aposition")
        return await in_waiting_thread(self._head, partial(runtime.current().log_threads.run, self._head))

    def consistent_read(self, take: Callable[[], T]) -> tuple[Position, T]:
        """Call ``take``, and return its value together with the position that agrees with it exactly.

        Use it in a view whose page must neither miss an event nor show it twice::

            position, messages = room.consistent_read(lambda: list(Message.objects.filter(room="lobby")))

        ``take`` runs in a transaction of the log's database and should only read. It must read at once: a queryset that it
        returns would be evaluated after the transaction, so make it a ``list``.
        """
        self._need_log("consistent_read")
        self._need_function("consistent_read", take)
        self._forbid_event_loop("consistent_read(…)", "aconsistent_read(…)")
        parts = runtime.current()
        return parts.log.consistent_read(self._name, take, parts.publisher.broadcast)

    async def aconsistent_read(self, take: Callable[[], T]) -> tuple[Position, T]:
        """As :meth:`consistent_read`, for ``async`` code; ``take`` is an ordinary function and runs in a thread."""
        self._need_log("aconsistent_read")
        self._need_function("aconsistent_read", take)
        parts = runtime.current()
        exactly = partial(parts.log.consistent_read, self._name, take, parts.publisher.broadcast)
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
                f"{type(self).__name__}.{method}: the topic stores no events, so it has no positions; make it durable, "
                "such as with keep = Keep(days=30)"
            )


def share_name(topic: Topic, name: str) -> None:
    """Let the topic keep this string as its name, which has the same text. A process holds very many topics of few names."""
    topic._name = name
