"""Matching of topic names against a route, in bounded time.

A regular expression would try every way to divide a name among the parameters: with the route ``<slug:a>-<slug:b>-<slug:c>`` a name of
255 characters has a million ways, and a client chooses the name. :class:`RouteMatcher` uses one only where each parameter ends
at a character that it cannot contain, as in ``rooms/<slug:room>/<int:seat>``. For other routes it works from the end of the name
to its beginning, and notes for each place whether the rest of the route fits there: a number of steps that grows with the length of
the name. Both find the same division, in which each parameter is as long as it can be, the first ones first.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

MAX_TRIES = 5000
"""Attempts with the expressions of a project's own converters. A name that needs more does not match."""

_CLASS = r"(?:\[\^?\]?(?:[^\]\\]|\\.)*\]|\.|\\[dDwWsS])"
_ANY_NUMBER = re.compile(rf"({_CLASS})\+")
_ATOM = re.compile(rf"(?:{_CLASS}|\\[^a-zA-Z0-9]|[^\\\[\](){{}}.*+?^$|])(?:\{{(\d+)\}})?")


class Piece(Protocol):
    """A parameter, as far as matching needs it."""

    @property
    def name(self) -> str: ...
    @property
    def expression(self) -> str: ...
    @property
    def pattern(self) -> re.Pattern[str]: ...


class ExpressionKind(NamedTuple):
    """What is known of an expression. ``letter`` matches one character, if the expression takes one or more of those; ``width`` is
    its length, if all its matches have one. Neither: anything may match."""

    letter: re.Pattern[str] | None = None
    width: int | None = None


def kind_of(expression: str) -> ExpressionKind:
    if found := _ANY_NUMBER.fullmatch(expression):
        return ExpressionKind(letter=re.compile(found[1]))
    place = width = 0
    while place < len(expression):
        atom = _ATOM.match(expression, place)
        if atom is None:
            return ExpressionKind()
        place, width = atom.end(), width + int(atom[1] or 1)
    return ExpressionKind(width=width)


class RouteMatcher:
    """The parts of one route, and the way to match names against them."""

    __slots__ = ("_kinds", "_parts", "_pattern")

    def __init__(self, parts: Sequence[str | Piece]) -> None:
        self._parts = parts
        self._kinds = [None if isinstance(part, str) else kind_of(part.expression) for part in parts]
        self._pattern: re.Pattern[str] | None = None
        if all(self._ends(place) for place in range(len(parts) - 1)):
            self._pattern = re.compile(
                "".join(
                    re.escape(part) if isinstance(part, str) else f"(?P<{part.name}>{part.expression})"
                    for part in parts
                )
                + r"\Z"
            )

    def _ends(self, place: int) -> bool:
        """Return whether it is clear where the part at ``place`` ends, whatever follows it."""
        kind, following = self._kinds[place], self._parts[place + 1]
        if (
            kind is None
            or kind.width is not None
            or (place == len(self._parts) - 2 and isinstance(following, str))
        ):
            return True
        letter = kind.letter
        return (
            letter is not None and isinstance(following, str) and any(not letter.match(c) for c in following)
        )

    def overlapping(self) -> list[tuple[str, str]]:
        """Return the names of the parameters, each with the next one, that the name of a topic can be divided among in several ways."""
        pairs = []
        for place, part in enumerate(self._parts):
            kind = self._kinds[place]
            if (
                isinstance(part, str)
                or kind is None
                or kind.letter is None
                or self._last(place)
                or self._ends(place)
            ):
                continue
            following = next(later for later in self._parts[place + 1 :] if not isinstance(later, str))
            pairs.append((part.name, following.name))
        return pairs

    def _last(self, place: int) -> bool:
        return all(isinstance(part, str) for part in self._parts[place + 1 :])

    def match(self, name: str) -> Mapping[str, str] | None:
        """Return the text of each parameter in ``name``; ``None`` if the name does not match."""
        if self._pattern is not None:
            found = self._pattern.match(name)
            return None if found is None else found.groupdict()
        return self._divide(name)

    def _divide(self, name: str) -> Mapping[str, str] | None:
        """Find for each part, from the last to the first, where it ends if it begins at a place of the name and all later parts fit
        behind it: as late as possible, and -1 if they do not fit."""
        length, tries = len(name), Tries()
        following = [-1] * length + [length]  # after the last part only the end of the name fits
        ends: list[list[int]] = []
        for index in range(len(self._parts) - 1, -1, -1):
            part, kind = self._parts[index], self._kinds[index]
            if isinstance(part, str) or kind is None:
                found = _ends_of_text(name, str(part), following)
            elif kind.letter is not None:
                found = _ends_of_letters(name, kind.letter, following)
            else:
                found = _ends_of_any(
                    name, part.pattern, kind.width, self._starts(index, name), following, tries
                )
            ends.append(found)
            following = found
        place, texts = 0, {}
        for part, found in zip(self._parts, reversed(ends), strict=True):
            end = found[place]
            if end < 0:
                return None
            if not isinstance(part, str):
                texts[part.name] = name[place:end]
            place = end
        return texts

    def _starts(self, index: int, name: str) -> Iterable[int]:
        """Return the places where the part can begin, by the part before it."""
        if index == 0:
            return (0,)
        before = self._parts[index - 1]
        if not isinstance(before, str):
            return range(len(name) + 1)
        return [place + len(before) for place in range(len(name)) if name.startswith(before, place)]


class Tries:
    """A number of attempts that is used up."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_TRIES

    def one_more(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _ends_of_text(name: str, text: str, following: Sequence[int]) -> list[int]:
    ends, place = [-1] * len(following), name.find(text)
    while place >= 0:
        end = place + len(text)
        if following[end] >= 0:
            ends[place] = end
        place = name.find(text, place + 1)
    return ends


def _ends_of_letters(name: str, letter: re.Pattern[str], following: Sequence[int]) -> list[int]:
    ends, last = [-1] * len(following), -1
    for place in range(len(name) - 1, -1, -1):
        if not letter.match(name, place):
            last = -1
            continue
        if last < 0 and following[place + 1] >= 0:
            last = place + 1
        ends[place] = last
    return ends


def _ends_of_any(
    name: str,
    pattern: re.Pattern[str],
    width: int | None,
    starts: Iterable[int],
    following: Sequence[int],
    tries: Tries,
) -> list[int]:
    ends = [-1] * len(following)
    possible = [end for end in range(len(following) - 1, -1, -1) if following[end] >= 0]
    for place in starts:
        for end in possible if width is None else (place + width,):
            if end < place or end >= len(following) or following[end] < 0:
                continue
            if not tries.one_more():
                return ends
            if pattern.fullmatch(name, place, end):
                ends[place] = end
                break
    return ends
