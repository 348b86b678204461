"""The JSON encoder for values of the project's code: events, results, snapshots, presence data.

The encoder takes what msgspec takes, and the types that are common in Django's code: ``SafeString`` and other subclasses of
``str``, ``int`` and ``float``, lazy translations (in the language that is active now), and lazy objects, as values and as keys
of dicts.

A browser reads some JSON as another value: an integer beyond ±(2^53 - 1) becomes a neighbouring number, ``nan`` and infinity
become ``null``, bytes become a text. :func:`unsendable` finds such values and their place, so that they are refused.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from django.utils.functional import LazyObject, Promise

LARGEST = 2**53 - 1
"""The largest integer that JavaScript holds exactly (``Number.MAX_SAFE_INTEGER``)."""

_ENCODING_ERRORS = (TypeError, ValueError, RecursionError, OverflowError)


def _simplify(value: Any) -> Any:
    """msgspec's ``enc_hook``: return a plain value for a value or a key that msgspec does not know."""
    if isinstance(value, Promise):
        return str.__str__(str(value))
    if LazyObject in type(value).__mro__:
        return _unwrapped(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"objects of type {type(value).__qualname__} cannot be sent as JSON")


def _unwrapped(value: Any) -> Any:
    bool(value)  # sets up the wrapped object
    return value._wrapped


encode = msgspec.json.Encoder(enc_hook=_simplify).encode
"""Return the JSON text of a value. Raises msgspec's errors for a value that has none."""


class Unsendable(msgspec.Struct, frozen=True, kw_only=True):
    """A value that cannot be sent: its place (``"tags[0].id"``, or ``""`` for the whole value), the reason, and the error to
    raise."""

    where: str
    what: str
    error: type[Exception] = ValueError

    def within(self, where: str) -> "Unsendable":
        """Return the same, with its place as seen from the value around it."""
        dot = "." if self.where and not self.where.startswith("[") else ""
        return msgspec.structs.replace(self, where=f"{where}{dot}{self.where}")


def encode_returned(what: str, value: Any) -> bytes:
    """Return the JSON text of a value that a method of the project returned; ``what`` names the method, as ``"Room.snapshot"``.

    Raises ``TypeError`` or ``ValueError``, for the developer, which names the place of a value that cannot be sent.
    """
    try:
        text = encode(value)
        found = unsendable(value)
    except _ENCODING_ERRORS as error:
        found = unencodable(value) or Unsendable(where="", what=str(error), error=TypeError)
        raise _complaint(what, found) from error
    if found is not None:
        raise _complaint(what, found)
    return text


def _complaint(what: str, found: Unsendable) -> Exception:
    at = f" at {found.where}" if found.where else ""
    return found.error(f"{what} returned a value that cannot be sent{at}: {found.what}")


def text_of(method: str, argument: str, value: Any) -> str:
    """Return the plain text of an argument that a method sends to clients: a ``str``, one of its subclasses, or a lazy one.

    Raises ``TypeError`` for anything else, and ``ValueError`` for text that is not well-formed.
    """
    value = value.value if isinstance(value, enum.Enum) else value
    if LazyObject in type(value).__mro__:
        value = _unwrapped(value)
    if isinstance(value, Promise):
        value = str(value)
    if not isinstance(value, str):
        raise TypeError(f"{method}: {argument}={value!r} is not a text; give a str, or None for none")
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{method}: {argument}={text!r} cannot be sent: {error}") from None
    return text


# ── values that a browser cannot read ────────────────────────────────────────────────────────────────────────────────

_HARMLESS = frozenset(
    {str, bool, type(None), datetime, date, time, timedelta, UUID, Decimal, msgspec.UnsetType, msgspec.Raw}
)


def unsendable(value: Any) -> Unsendable | None:
    """Return the first part of an encodable value that a browser would read as something else; ``None`` without one."""
    kind = type(value)
    if kind in _HARMLESS:
        return None
    look = _LOOKS.get(kind)
    return _unusual(value) if look is None else look(value)


def _in_dict(value: dict[Any, Any]) -> Unsendable | None:
    for key, part in value.items():
        kind = type(part)
        if type(key) is not str and (found := _in_key(key)):
            return found
        if kind in _HARMLESS or (kind is int and -LARGEST <= part <= LARGEST):
            continue  # most values are, and a call would cost more than this test
        if found := unsendable(part):
            return found.within(str(key))
    return None


def _in_key(key: Any) -> Unsendable | None:
    """Check a key of a dict. An integer key becomes a text, which may have any number of digits."""
    found = None if isinstance(key, int) else unsendable(key)
    return found and msgspec.structs.replace(found, where="", what=f"a key of a dict: {found.what}")


def _in_sequence(value: Iterable[Any]) -> Unsendable | None:
    for part in value:
        kind = type(part)
        if kind in _HARMLESS or (kind is int and -LARGEST <= part <= LARGEST):
            continue
        if found := unsendable(part):
            return found.within(f"[{next(at for at, other in enumerate(value) if other is part)}]")
    return None


def _unusual(value: Any) -> Unsendable | None:
    """Check a value that is neither plain nor one of Python's containers."""
    kind = type(value)
    if isinstance(value, bytes | bytearray | memoryview):
        what = f"{kind.__name__} cannot be read by a browser; send text, such as base64.b64encode(value).decode()"
        return Unsendable(where="", what=what, error=TypeError)
    if LazyObject in kind.__mro__:
        return unsendable(_unwrapped(value))
    if isinstance(value, enum.Enum):
        return unsendable(value.value)
    for plain, look in _LOOKS.items():
        if isinstance(value, plain):
            return look(value)
    for name, part in _fields(value):
        if found := unsendable(part):
            return found.within(name)
    return None


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of an object with their names on the wire."""
    if isinstance(value, msgspec.Struct):
        for name, wire_name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield wire_name, getattr(value, name)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name)
    else:
        for attribute in getattr(type(value), "__attrs_attrs__", ()):
            yield attribute.name, getattr(value, attribute.name)


def _in_int(value: int) -> Unsendable | None:
    if -LARGEST <= value <= LARGEST:
        return None
    shown = int.__repr__(value) if -(10**30) < value < 10**30 else "an integer of more than 30 digits"
    return Unsendable(
        where="",
        what=f"{shown} is beyond ±(2**53 - 1), and JavaScript would read another number; send it as a str",
    )


def _in_float(value: float) -> Unsendable | None:
    if value - value == 0:
        return None
    return Unsendable(
        where="", what=f"{float.__repr__(value)} is no number in JSON; send None, or leave it out"
    )


_LOOKS: dict[type, Callable[[Any], Unsendable | None]] = {
    int: _in_int,
    float: _in_float,
    dict: _in_dict,
    list: _in_sequence,
    tuple: _in_sequence,
    set: _in_sequence,
    frozenset: _in_sequence,
}


# ── values without a JSON text ───────────────────────────────────────────────────────────────────────────────────────


def unencodable(value: Any) -> Unsendable | None:
    """Return the innermost part of a value that makes :func:`encode` fail; ``None`` without one."""
    try:
        encode(value)
    except _ENCODING_ERRORS as error:
        if isinstance(error, RecursionError):
            return Unsendable(where="", what="it is nested too deeply", error=TypeError)
        if isinstance(value, dict):
            parts: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, list | tuple | set | frozenset):
            parts = enumerate(value)
        else:
            parts = _fields(value)
        for place, part in parts:
            if found := unencodable(part):
                return found.within(f"[{place}]" if isinstance(place, int) else str(place))
        return Unsendable(where="", what=str(error), error=TypeError)
    return None


# ── types whose values need no check ─────────────────────────────────────────────────────────────────────────────────

_PLAIN = (
    msgspec.inspect.BoolType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.DateType,
    msgspec.inspect.DecimalType,
    msgspec.inspect.NoneType,
    msgspec.inspect.StrType,
    msgspec.inspect.TimeDeltaType,
    msgspec.inspect.TimeType,
    msgspec.inspect.UUIDType,
)


def vouches(annotation: Any) -> bool:
    """Return whether a browser can read every value of a type."""
    return _vouches(msgspec.inspect.type_info(annotation))


def _vouches(node: Any) -> bool:
    match node:
        case msgspec.inspect.UnionType(types=types):
            return all(map(_vouches, types))
        case msgspec.inspect.Metadata(type=inner):
            return _vouches(inner)
        case msgspec.inspect.ListType(item_type=inner) | msgspec.inspect.VarTupleType(item_type=inner):
            return _vouches(inner)
        case msgspec.inspect.LiteralType(values=values):
            return unsendable(list(values)) is None
        case msgspec.inspect.EnumType(cls=cls) | msgspec.inspect.CustomType(cls=cls) if issubclass(
            cls, enum.Enum
        ):
            return unsendable([member.value for member in cls]) is None
        case msgspec.inspect.IntType(ge=ge, gt=gt, le=le, lt=lt):
            above, below = ge if ge is not None else gt, le if le is not None else lt
            return above is not None and below is not None and above >= -LARGEST and below <= LARGEST
    return isinstance(node, _PLAIN)
