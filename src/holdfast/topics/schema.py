"""Types: whether their values can be sent as JSON, and a readable form of msgspec's errors."""

import enum
import re
from collections.abc import Iterator
from typing import Any

import msgspec

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_CARRIED = (
    "str, int, float, bool, None, datetime, UUID, Decimal, Enum, list, dict, dataclasses, msgspec.Struct"
)

_BYTES = (msgspec.inspect.BytesType, msgspec.inspect.ByteArrayType, msgspec.inspect.MemoryViewType)


def why_unsupported(annotation: Any) -> str | None:
    """Return why values of a type cannot be sent as JSON; ``None`` when they can."""
    try:
        info = msgspec.inspect.type_info(annotation)
        msgspec.json.Decoder(annotation)
    except TypeError as error:
        return f"{error} (what can be sent: {_CARRIED})"
    for node in nodes(info, (msgspec.inspect.CustomType,), set()):
        if issubclass(node.cls, enum.Enum):
            continue  # Django's choices: msgspec reads them, but does not recognize them here
        name = getattr(node.cls, "__qualname__", repr(node.cls))
        return (
            f"{name} cannot be sent as JSON; send its id or its fields instead (what can be sent: {_CARRIED})"
        )
    return None


def why_unreadable(annotation: Any) -> str | None:
    """Return why a browser cannot read values of a type; ``None`` when it can."""
    info = msgspec.inspect.type_info(annotation)
    if next(nodes(info, _BYTES, set()), None) is None:
        return None
    return "bytes cannot be read by a browser; declare a str, and send text such as base64.b64encode(value).decode()"


def nodes(node: Any, kinds: tuple[type, ...], seen: set[int]) -> Iterator[Any]:
    """Yield the parts of a type that are of some kinds."""
    if isinstance(node, kinds):
        yield node
    if isinstance(node, tuple | list):
        for item in node:
            yield from nodes(item, kinds, seen)
    elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
        seen.add(id(node))
        for field in node.__struct_fields__:
            if field not in ("cls", "default", "default_factory"):
                yield from nodes(getattr(node, field), kinds, seen)


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """msgspec's error about a value in two parts: the place (``"tags[0]"``, or ``""``), and what does not fit."""

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
