"""The declaration of a topic: reads its class when Python defines it, and raises an error that names a mistake and its way out."""

import enum
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from holdfast.protocol.construction import shortened
from holdfast.streams.slow import Slow, SlowKind

from .action import Action, options_of
from .anyone import anyone
from .event import Event, check_event
from .keep import Keep
from .permissions import read_permissions
from .presence import Presence
from .routes import Route
from .rule import check_rule

HOOKS = ("may_join", "may_call", "snapshot", "presence_meta")
"""Methods that a topic may define and ``Topic`` does not have."""

RULES = ("may_join", "may_call")
"""The hooks that answer yes or no."""

_NOTHING = object()


class Mode(enum.Enum):
    """The way in which a method runs: a ``def`` in a thread, an ``async def`` on the event loop."""

    THREAD = "def"
    LOOP = "async def"


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a topic's class.

    ``places`` are the attributes in which a topic keeps the parameters of its route, by the names of the parameters.
    The keys of ``events`` and ``actions`` are the names on the wire. ``may_join``, ``may_call``, ``snapshot`` and
    ``presence_meta`` say how these methods run; ``None`` means that the class does not have the method.
    ``requires`` are the permissions that a user must have. ``may_join_takes_identity`` says whether the rule has the parameter ``identity``. ``slow`` matters only without a ``keep``.
    """

    route: Route
    places: Mapping[str, str]
    events: Mapping[str, type[Event]]
    actions: Mapping[str, Action]
    keep: Keep | None
    slow: Slow
    presence: Presence | None
    requires: tuple[str, ...]
    may_join: Mode | None
    may_join_takes_identity: bool
    may_call: Mode | None
    snapshot: Mode | None
    presence_meta: Mode | None

    @property
    def durable(self) -> bool:
        return self.keep is not None

    @property
    def admits_in_thread(self) -> bool:
        """Whether a worker thread alone decides on joins: by a ``may_join`` that is a ``def``, or by ``requires`` alone."""
        return self.may_join is Mode.THREAD or (self.may_join is None and bool(self.requires))


def read(topic: type, base: type) -> Declaration:
    """Return the declaration of a topic's class, a subclass of ``base``.

    Raises ``TypeError``, which names the class, the mistake and the way out.
    """
    _check_nothing_hidden(topic, base)
    route = _route(topic)
    return Declaration(
        route=route,
        places=MappingProxyType({name: _place(topic, base, name) for name in route.parameters}),
        events=_events(topic),
        actions=_actions(topic, base),
        keep=_keep(topic),
        slow=_slow(topic),
        presence=_presence(topic),
        requires=read_permissions(f"{topic.__name__}.requires", getattr(topic, "requires", None)),
        may_join=_hook(topic, "may_join", "self, user", optional="identity"),
        may_join_takes_identity=_takes(topic, "may_join", "identity"),
        may_call=_hook(topic, "may_call", "self, caller, action"),
        snapshot=_hook(topic, "snapshot", "self"),
        presence_meta=_hook(topic, "presence_meta", "self, user"),
    )


def _route(topic: Any) -> Route:
    try:
        return Route(topic.route)
    except TypeError as error:
        raise TypeError(f"{topic.__name__}.route: {error}") from None


def _place(topic: type, base: type, parameter: str) -> str:
    """Return the attribute that keeps a parameter: the parameter's name, or, where the topic uses that name already, a name
    that no code can write."""
    return sys.intern(f"<{parameter}>") if _has_meaning(topic, base, parameter) else parameter


def _has_meaning(topic: type, base: type, attribute: str) -> bool:
    """Return whether an attribute of a topic would hide something. Plain values of a class do not count: they are defaults."""
    if _of_base(base, attribute) or attribute in HOOKS:
        return True
    own = inspect.getattr_static(topic, attribute, None)
    return hasattr(own, "__get__") or callable(own)


def _of_base(base: type, attribute: str) -> bool:
    # Static, because some attributes are descriptors that answer only on a topic with a route.
    return (
        attribute in base.__annotations__ or inspect.getattr_static(base, attribute, _NOTHING) is not _NOTHING
    )


def _check_nothing_hidden(topic: type, base: type) -> None:
    """A method may override one of ``Topic``'s methods. Any other value under such a name would hide the method."""
    for cls in topic.__mro__[: topic.__mro__.index(base)]:
        for name, value in vars(cls).items():
            theirs = inspect.getattr_static(base, name, None)
            if name.startswith("__") or theirs is None or name in base.__annotations__:
                continue
            if options_of(value) is None and not (inspect.isfunction(theirs) and inspect.isfunction(value)):
                raise TypeError(
                    f"{topic.__name__}.{name}: {shortened(value)} would hide {base.__name__}.{name}, which a topic needs; "
                    f"give it another name, such as {topic.__name__.lower()}_{name.strip('_')}"
                )


def _events(topic: Any) -> Mapping[str, type[Event]]:
    declared = topic.events
    if isinstance(declared, str) or not isinstance(declared, Iterable):
        raise TypeError(
            f"{topic.__name__}.events: {declared!r} is not a list; write events = [MessagePosted, …]"
        )
    events: dict[str, type[Event]] = {}
    for event in declared:
        if not (isinstance(event, type) and issubclass(event, Event)) or event is Event:
            raise TypeError(
                f"{topic.__name__}.events: {event!r} is not a subclass of Event; write: class MessagePosted(Event): … "
                "with a typed field per line, and list the class itself"
            )
        name = event.__wire_name__
        if name in events and events[name] is not event:
            raise TypeError(
                f"{topic.__name__}.events: {events[name].__qualname__} and {event.__qualname__} are both {name!r} on "
                f'the wire; give one another name: class {event.__name__}(Event, name="…")'
            )
        check_event(event)
        events[name] = event
    return MappingProxyType(events)


def _keep(topic: Any) -> Keep | None:
    keep: Keep | None = topic.keep
    if keep is not None and not isinstance(keep, Keep):
        raise TypeError(
            f"{topic.__name__}.keep: {keep!r} is not a Keep; write keep = Keep(days=30) for a durable topic, "
            "or leave it out for one that stores nothing"
        )
    if keep is not None and keep.public:
        _check_public(topic)
    return keep


def _check_public(topic: Any) -> None:
    """Check that the rule of a topic with a public history depends on nothing."""
    owner = topic.__name__
    if inspect.getattr_static(topic, "may_join", None) is not anyone or topic.requires is not None:
        rule = "may_join" if topic.requires is None else "requires"
        raise TypeError(
            f"{owner}.keep: Keep(public=True) gives the events to every reader, through caches that ask no rule, but "
            f"{owner}.{rule} decides for each user; write may_join = anyone (from holdfast import anyone) and no requires, or "
            "leave public out"
        )


def _presence(topic: Any) -> Presence | None:
    presence, owner = topic.presence, topic.__name__
    if presence is not None and not isinstance(presence, Presence):
        raise TypeError(
            f"{owner}.presence: {presence!r} is not a Presence; write presence = Presence() for a topic that knows its "
            "members, or leave it out"
        )
    if presence is None and inspect.getattr_static(topic, "presence_meta", None) is not None:
        raise TypeError(
            f"{owner}.presence_meta: no client would receive it, since {owner} has no presence; write presence = Presence(), or "
            "remove the method"
        )
    return presence


def _slow(topic: Any) -> Slow:
    slow, owner = topic.slow, topic.__name__
    if slow is None:
        return Slow.drop()
    if not isinstance(slow, Slow):
        raise TypeError(
            f'{owner}.slow: {slow!r} is not a Slow; write slow = Slow.drop(), Slow.conflate("symbol") or Slow.disconnect()'
        )
    if topic.keep is not None and slow.rate is not None:
        raise TypeError(
            f"{owner}.slow: a topic with a keep delivers every event, so a rate cannot leave any out; leave keep out, or move "
            "the events that a rate may leave out to a topic without one"
        )
    if topic.keep is not None:
        raise TypeError(
            f"{owner}.slow: a topic with a keep serves slow clients from its log, so there is nothing to choose; leave slow "
            "out, or leave keep out for a topic that stores nothing"
        )
    if slow.kind is SlowKind.CONFLATE:
        for field in slow.key:
            _check_field(topic, field)
    return slow


def _check_field(topic: Any, field: str) -> None:
    """Check that this is the name of a field on the wire."""
    fields = [(event, found) for event in topic.events for found in msgspec.structs.fields(event)]
    if any(found.encode_name == field for _, found in fields):
        return
    renamed = next((found.encode_name for _, found in fields if found.name == field), None)
    known = ", ".join(dict.fromkeys(repr(found.encode_name) for _, found in fields)) or "none"
    way_out = f"it is called {renamed!r} on the wire" if renamed else f"their fields are: {known}"
    raise TypeError(f"{topic.__name__}.slow: Slow.conflate({field!r}): no event has such a field; {way_out}")


def _actions(topic: type, base: type) -> Mapping[str, Action]:
    actions: dict[str, Action] = {}
    for attribute, function in _methods(topic):
        options = options_of(function)
        if options is None:
            _check_not_lost(topic, attribute, function)
            continue
        if _of_base(base, attribute):
            raise TypeError(
                f"{topic.__name__}.{attribute}: an action of this name would hide Topic.{attribute}; name the method "
                f'otherwise and keep the name on the wire with @action(name="{attribute}")'
            )
        described = Action(topic, function, options)
        if described.name in actions:
            raise TypeError(
                f"{topic.__name__}: {actions[described.name].function.__name__} and {attribute} are both the action "
                f'{described.name!r}; give one another name with @action(name="…")'
            )
        actions[described.name] = described
    return MappingProxyType(actions)


def _methods(topic: type) -> Iterable[tuple[str, Callable[..., Any]]]:
    """Yield the functions of the class, including inherited ones, in the order of their definition."""
    names = dict.fromkeys(name for cls in reversed(topic.__mro__) for name in vars(cls))
    for name in names:
        value = inspect.getattr_static(topic, name)
        if inspect.isfunction(value):
            yield name, value


def _check_not_lost(topic: type, attribute: str, function: Any) -> None:
    """Refuse an override without the decorator: it would remove an action silently."""
    for cls in topic.__mro__[1:]:
        if options_of(vars(cls).get(attribute)) is not None:
            raise TypeError(
                f"{topic.__name__}.{attribute} overrides the action {cls.__name__}.{attribute} without @action; "
                f"decorate it as well, or write {attribute} = None to take the action away"
            )


def _hook(topic: type, name: str, expected: str, *, optional: str | None = None) -> Mode | None:
    method = inspect.getattr_static(topic, name, None)
    if method is None:
        return None
    wanted = f"def {name}({expected})"
    if not inspect.isfunction(method):
        raise TypeError(f"{topic.__name__}.{name}: {method!r} is not a method; write {wanted}: …")
    if options_of(method) is not None:
        raise TypeError(
            f"{topic.__name__}.{name} is a rule that the server asks, not an action; remove @action"
        )
    arguments = expected.split(", ")
    if optional is not None:
        wanted += f", or def {name}({expected}, {optional})"
        if _takes(topic, name, optional):
            arguments.append(optional)
    try:
        bound = inspect.signature(method).bind(*arguments)
    except TypeError:
        bound = None
    if bound is None or (optional in arguments and bound.arguments.get(str(optional)) != optional):
        raise TypeError(
            f"{topic.__name__}.{name}{inspect.signature(method)} cannot be called as it will be; write {wanted}: …"
        )
    if name in RULES:
        check_rule(topic, name, method)
    return Mode.LOOP if inspect.iscoroutinefunction(method) else Mode.THREAD


def _takes(topic: type, name: str, parameter: str) -> bool:
    """Whether a method of the topic, if it has that, has a parameter of this name."""
    method = inspect.getattr_static(topic, name, None)
    return inspect.isfunction(method) and parameter in inspect.signature(method).parameters
