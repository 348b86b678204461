"""Routes: the patterns of topic names, with Django's path converters and ``<me>``.

``rooms/<slug:room>`` matches ``rooms/lobby``. Converters are Django's (``str``, ``int``, ``slug``, ``uuid``, ``path``
and those added by ``register_converter``), and so is the syntax. The name of a topic is *canonical*: it is rebuilt from
the converted values, so that ``rooms/007`` and ``rooms/7`` are one topic where the parameter is an ``int``.

``<me>`` stands for the caller's own user id. A client may write ``me`` or the id itself. The id of another user does not
match, and neither does any name from an anonymous caller.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.urls.converters import get_converters

from holdfast.protocol.construction import shortened

from .owner import canonical_key, written
from .route_matching import RouteMatcher

MAX_NAME = 255
"""Characters that a topic's name may have."""

_PARAMETER = re.compile(r"<(?:(?P<converter>[^<>:]*):)?(?P<parameter>[^<>]*)>")
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ME = "me"
OURS = "!"
"""The first character of the names of Holdfast's own topics. No other topic may have it."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One ``<…>`` of a route."""

    name: str
    source: str
    converter: Any
    pattern: re.Pattern[str]

    @property
    def expression(self) -> str:
        """The regular expression of the converter."""
        expression: str = self.converter.regex
        return expression

    @property
    def is_me(self) -> bool:
        return self.source == "<me>"


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A name that fits a route: its canonical form and its converted parameters."""

    name: str
    values: Mapping[str, Any]


class Route:
    """A parsed route. Raises ``TypeError``, which names the mistake, when the route cannot be parsed."""

    __slots__ = ("_matcher", "_parts", "parameters", "prefix", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[str | Parameter] = _parse(text)
        self.parameters = {part.name: part for part in self._parts if isinstance(part, Parameter)}
        self.prefix = self._parts[0] if isinstance(self._parts[0], str) else ""
        self._matcher = RouteMatcher(self._parts)

    @property
    def parts(self) -> tuple[str | Parameter, ...]:
        """The texts and the parameters of the route, in order."""
        return tuple(self._parts)

    @property
    def shape(self) -> str:
        """The route without the names of its parameters: two routes of one shape match the same topic names."""
        return "".join(
            part if isinstance(part, str) else f"<{part.converter.regex}>" if not part.is_me else "<[^/]+>"
            for part in self._parts
        )

    @property
    def overlapping(self) -> list[tuple[str, str]]:
        """The pairs of neighbouring parameters between which a name can be divided in several ways."""
        return self._matcher.overlapping()

    def match(self, name: str, user_id: str | None) -> Match | None:
        """Match a name that a caller sent; ``user_id`` is the caller's, ``None`` for an anonymous one."""
        return self._match(name, lambda value: user_id if value in (_ME, user_id) else None)

    def match_canonical(self, name: str) -> Match | None:
        """Match a name that the server made itself, in which ``<me>`` may be the id of any user."""
        return self._match(name, lambda value: value)

    def _match(self, name: str, who: Any) -> Match | None:
        if len(name) > MAX_NAME or name.startswith(OURS) or _UNSPEAKABLE.search(name):
            return None
        found = self._matcher.match(name)
        if found is None:
            return None
        values: dict[str, Any] = {}
        for key, text in found.items():
            try:
                value = (
                    who(text)
                    if self.parameters[key].is_me
                    else self.parameters[key].converter.to_python(text)
                )
            except ValueError:
                return None  # by this error a converter says that the text is none of its values
            if self.parameters[key].is_me and (
                value is None
                or not self.parameters[key].pattern.fullmatch(value)
                or _UNSPEAKABLE.search(value)
            ):
                return None
            values[key] = value
        canonical = self._join(values) if values else name
        if len(canonical) > MAX_NAME:
            return None  # a user's id may be longer than the "me" that stands for it
        # One text for both: a connection keeps what it asked for, and what that means.
        return Match(name=name if canonical == name else canonical, values=values)

    def _join(self, values: Mapping[str, Any]) -> str:
        return "".join(
            part if isinstance(part, str) else str(part.converter.to_url(values[part.name]))
            for part in self._parts
        )

    def build(self, owner: str, given: Mapping[str, Any]) -> Match:
        """Return the match for the given parameters.

        Raises ``TypeError`` for a missing or unknown parameter and ``ValueError`` for a value that does not fit.
        ``owner`` is the name of the topic's class, for the message.
        """
        self._check_names(owner, given)
        values = {
            name: self._checked(owner, parameter, given[name]) for name, parameter in self.parameters.items()
        }
        name = self._join(values)
        if name.startswith(OURS):
            raise ValueError(
                f"{owner}: the name {name[:40]!r} begins with {OURS!r}, as only Holdfast's own do"
            )
        if len(name) > MAX_NAME:
            raise ValueError(
                f"{owner}: the name {name[:40] + '…'!r} has {len(name)} characters, at most {MAX_NAME} may be"
            )
        return Match(name=name, values=values)

    def by_name(self, owner: str, given: Sequence[object]) -> str:
        """Return the message for values that were given without the names of their parameters."""
        shown = ", ".join(shortened(value) for value in given)
        if not self.parameters:
            return f"{owner}({shown}): its route {self.text!r} has no parameters, so write {owner}()"
        expected = ", ".join(f"{name}=…" for name in self.parameters)
        return (
            f"{owner}({shown}): a topic takes its parameters by name: its route is {self.text!r}, so write "
            f"{owner}({expected})"
        )

    def _check_names(self, owner: str, given: Mapping[str, Any]) -> None:
        expected = ", ".join(f"{name}=…" for name in self.parameters)
        for name in given:
            if name not in self.parameters:
                raise TypeError(
                    f"{owner} has no parameter {name!r}: its route is {self.text!r}, so write {owner}({expected})"
                )
        for name in self.parameters:
            if name not in given:
                raise TypeError(
                    f"{owner} needs the parameter {name!r}: its route is {self.text!r}, so write {owner}({expected})"
                )

    def _checked(self, owner: str, parameter: Parameter, value: Any) -> Any:
        if parameter.is_me:
            value = value.pk if hasattr(value, "pk") else canonical_key(value)  # Inbox(me=request.user)
        try:
            text = parameter.converter.to_url(value)
            if text is value or isinstance(text, int):
                text = written(text)  # the converters str, slug and path return their argument unchanged
            if isinstance(text, str) and parameter.pattern.fullmatch(text) and not _UNSPEAKABLE.search(text):
                return text if parameter.is_me else parameter.converter.to_python(text)
        except (TypeError, ValueError, AttributeError):
            pass  # the converter does not know this type of value
        hint = "; give its primary key" if hasattr(value, "pk") else ""
        raise ValueError(
            f"{owner}({parameter.name}={value!r}): the value does not fit {parameter.source} of route {self.text!r}; "
            f"expected a value whose text matches {parameter.converter.regex}{hint}"
        )

    def __repr__(self) -> str:
        return f"Route({self.text!r})"


def _parse(text: Any) -> list[str | Parameter]:
    if not isinstance(text, str) or not text:
        raise TypeError(f"the route {text!r} is not one; write a path such as 'rooms/<slug:room>'")
    if text.startswith("/"):
        raise TypeError(
            f"the route {text!r} begins with '/'; topics are not URLs, write {text.lstrip('/')!r}"
        )
    if text.startswith(OURS):
        raise TypeError(
            f"the route {text!r} begins with {OURS!r}, as only names of Holdfast's own do; leave it out"
        )
    if _UNSPEAKABLE.search(text) or any(character.isspace() for character in text):
        raise TypeError(f"the route {text!r} contains white space or control characters; leave them out")
    parts: list[str | Parameter] = []
    end = 0
    for found in _PARAMETER.finditer(text):
        parts.append(text[end : found.start()])
        parts.append(_parameter(text, found))
        end = found.end()
    parts.append(text[end:])
    for part in parts:
        if isinstance(part, str) and ("<" in part or ">" in part):
            raise TypeError(
                f"the route {text!r} has an unmatched '<' or '>'; parameters look like <slug:room>"
            )
    names = [part.name for part in parts if isinstance(part, Parameter)]
    for name in names:
        if names.count(name) > 1:
            raise TypeError(
                f"the route {text!r} has the parameter {name!r} twice; give one of them another name"
            )
    return [part for part in parts if part != ""]


def _parameter(text: str, found: re.Match[str]) -> Parameter:
    converters = get_converters()
    name, kind = found["parameter"], found["converter"]
    if not name.isidentifier():
        raise TypeError(f"the route {text!r} has a parameter {name!r}, which is not a valid Python name")
    if kind is None:
        kind = "str"
    if kind not in converters:
        near = difflib.get_close_matches(kind, converters, n=1)
        did_you_mean = f"did you mean {near[0]!r}? " if near else ""
        raise TypeError(
            f"the route {text!r} uses the converter {kind!r}, which does not exist; {did_you_mean}"
            f"known: {', '.join(sorted(converters))}; register your own with django.urls.register_converter"
        )
    converter = converters[kind]
    return Parameter(name=name, source=found[0], converter=converter, pattern=re.compile(converter.regex))
