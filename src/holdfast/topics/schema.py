"""Which types can travel, and saying in words what did not fit."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_CARRIED = (
    "str, int, float, bool, None, datetime, UUID, Decimal, Enum, list, dict, dataclasses, msgspec.Struct"
)


def why_unsupported(annotation: Any) -> str | None:
    """Say why values of a type cannot be sent as JSON, or ``None`` when they can."""
    try:
        info = msgspec.inspect.type_info(annotation)
        msgspec.json.Decoder(annotation)
    except TypeError as error:
        return f"{error} (what can be sent: {_CARRIED})"
    for custom in _custom_types(info, set()):
        name = getattr(custom, "__qualname__", repr(custom))
        return (
            f"{name} cannot be sent as JSON; send its id or its fields instead (what can be sent: {_CARRIED})"
        )
    return None


def _custom_types(node: Any, seen: set[int]) -> Iterator[type]:
    if isinstance(node, msgspec.inspect.CustomType):
        yield node.cls
    elif isinstance(node, tuple | list):
        for item in node:
            yield from _custom_types(item, seen)
    elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
        seen.add(id(node))
        for field in node.__struct_fields__:
            if field not in ("cls", "default", "default_factory"):
                yield from _custom_types(getattr(node, field), seen)


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """What msgspec said about a value, taken apart: where (``"tags[0]"``, or ``""``) and what."""

    where: str
    what: str

    @classmethod
    def of(cls, error: Exception) -> "Misfit":
        match = _AT.match(str(error))
        if match is None:
            return cls(where="", what=str(error))
        what = match["what"].replace("`", "")
        return cls(
            where=(match["path"] or "").removeprefix("$").removeprefix("."), what=what[:1].lower() + what[1:]
        )

    @property
    def is_type(self) -> bool:
        return ", got " in self.what
