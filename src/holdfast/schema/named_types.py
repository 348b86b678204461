"""The classes that types refer to, and a name for each."""

import enum
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from holdfast.topics.schema import nodes

OBJECTS = (
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
    msgspec.inspect.NamedTupleType,
)
ENUMS = (msgspec.inspect.EnumType, msgspec.inspect.CustomType)

_WORD = re.compile(r"[A-Za-z0-9]+")
_COMMON = ("live", "models", "events", "topics", "types", "schemas")
"""Modules whose names say nothing about what is in them."""


def named_in(annotations: Iterable[Any]) -> Iterator[Any]:
    """Yield msgspec's description of each class with fields, and of each enum, that these types contain."""
    for annotation in annotations:
        yield from nodes(msgspec.inspect.type_info(annotation), (*OBJECTS, *ENUMS), set())


def names_for(classes: Iterable[Any]) -> dict[Any, str]:
    """Return a name for each class: its own, with that of its module in front where several classes have one name."""
    ordered = sorted(set(classes), key=lambda cls: (_plain(cls), _module(cls), repr(cls)))
    names = {cls: _plain(cls) for cls in ordered}
    for qualify in (_with_app, _with_module):
        count = Counter(names.values())
        names = {cls: qualify(cls) if count[name] > 1 else name for cls, name in names.items()}
    taken: Counter[str] = Counter()
    for cls, name in names.items():  # classes that a function makes may have one name in one module
        taken[name] += 1
        if taken[name] > 1:
            names[cls] = f"{name}{taken[name]}"
    return names


def is_enum(node: Any) -> bool:
    return isinstance(node, ENUMS) and issubclass(node.cls, enum.Enum)


def _plain(cls: Any) -> str:
    """The name of a class; a generic one with its arguments, as ``PageOfInt`` for ``Page[int]``."""
    arguments = getattr(cls, "__args__", ())
    own: str = getattr(cls, "__name__", None) or getattr(cls, "__origin__", cls).__name__
    given = "And".join(
        _capital(getattr(argument, "__name__", repr(argument)), everywhere=True) for argument in arguments
    )
    return _capital(own, everywhere=False) + (f"Of{given}" if given else "")


def _module(cls: Any) -> str:
    return str(getattr(cls, "__module__", ""))


def _with_app(cls: Any) -> str:
    parts = [part for part in _module(cls).split(".") if part not in _COMMON]
    return _capital(parts[-1], everywhere=True) + _plain(cls) if parts else _plain(cls)


def _with_module(cls: Any) -> str:
    return _capital(f"{_module(cls)}.{getattr(cls, '__qualname__', _plain(cls))}", everywhere=True)


def _capital(text: str, *, everywhere: bool) -> str:
    words = _WORD.findall(text)
    if not everywhere and len(words) == 1:
        return str(words[0])
    return "".join(word[:1].upper() + word[1:] for word in words)
