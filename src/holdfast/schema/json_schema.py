"""JSON Schema (draft 7) of Python types, as their values are on the wire.

A value that the server sends has all fields of its class, also those with a default. A value that a client sends may leave
those out. So a class that goes both ways has two schemas if it has a default; that of the client's values is called ``…Input``.
"""

import enum
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as info

from holdfast.topics.encoding import encode
from holdfast.topics.schema import nodes

from .named_types import OBJECTS, is_enum, named_in, names_for

Schema = dict[str, Any]

REF = "#/components/schemas/"
"""The beginning of a reference to a named schema."""

_FORMATS: dict[type, str] = {
    info.DateTimeType: "date-time",
    info.DateType: "date",
    info.TimeType: "time",
    info.TimeDeltaType: "duration",
    info.UUIDType: "uuid",
    info.DecimalType: "decimal",
    info.BytesType: "byte",
    info.ByteArrayType: "byte",
    info.MemoryViewType: "byte",
}

_CONSTRAINTS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}

_LISTS = (info.ListType, info.SetType, info.FrozenSetType, info.VarTupleType)


class JsonSchemas:
    """The schemas of the types that a server sends and takes, with one set of names for their classes.

    ``others`` are classes that have names in the same document for other reasons, such as topics.
    """

    def __init__(self, sent: Iterable[Any], taken: Iterable[Any], others: Iterable[type] = ()) -> None:
        self._sent = {node.cls: node for node in named_in(sent) if _named(node)}
        self._taken = {node.cls: node for node in named_in(taken) if _named(node)}
        self._names = names_for([*self._sent, *self._taken, *others])
        self._inputs = {
            cls for cls, node in self._taken.items() if cls in self._sent and _differs(node, set())
        }

    def name_of(self, cls: Any) -> str:
        return self._names[cls]

    def sent(self, annotation: Any) -> Schema:
        """Return the schema of a value that the server sends."""
        return self._of(info.type_info(annotation), taken=False)

    def taken(self, annotation: Any) -> Schema:
        """Return the schema of a value that a client sends."""
        return self._of(info.type_info(annotation), taken=True)

    def definitions(self) -> Mapping[str, Schema]:
        """Return the schemas of all classes by their names, sorted."""
        found = {
            self._name(cls, taken=False): self._class(node, taken=False) for cls, node in self._sent.items()
        }
        for cls, node in self._taken.items():
            if cls not in self._sent or cls in self._inputs:
                found[self._name(cls, taken=True)] = self._class(node, taken=True)
        return dict(sorted(found.items()))

    def taken_names(self) -> frozenset[str]:
        """Return the names of the classes whose values only clients send."""
        return frozenset(
            self._name(cls, taken=True) for cls in self._taken if cls not in self._sent or cls in self._inputs
        )

    def _name(self, cls: Any, *, taken: bool) -> str:
        return f"{self._names[cls]}Input" if taken and cls in self._inputs else self._names[cls]

    def _of(self, node: Any, *, taken: bool) -> Schema:
        if _named(node):
            return {"$ref": REF + self._name(node.cls, taken=taken)}
        if kind := _FORMATS.get(type(node)):
            return {"type": "string", "format": kind}
        if isinstance(node, _LISTS):
            unique = {"uniqueItems": True} if isinstance(node, info.SetType | info.FrozenSetType) else {}
            items = self._of(node.item_type, taken=taken)
            return {"type": "array", "items": items, **unique, **_lengths(node, "Items")}
        match node:
            case info.Metadata(type=inner):
                return {**self._of(inner, taken=taken), **(node.extra_json_schema or {})}
            case info.NoneType():
                return {"type": "null"}
            case info.BoolType():
                return {"type": "boolean"}
            case info.IntType():
                return {"type": "integer", **_constraints(node)}
            case info.FloatType():
                return {"type": "number", **_constraints(node)}
            case info.StrType():
                return {"type": "string", **_constraints(node), **_lengths(node, "Length")}
            case info.LiteralType(values=values):
                return {"enum": sorted(values, key=lambda value: (type(value).__name__, value))}
            case info.TupleType(item_types=types):
                return _array([self._of(each, taken=taken) for each in types], at_least=len(types))
            case info.DictType(key_type=key, value_type=value):
                names = self._of(key, taken=taken)
                keys = {} if names == {"type": "string"} else {"propertyNames": _as_text(names)}
                held = {"additionalProperties": self._of(value, taken=taken)}
                return {"type": "object", **keys, **held, **_lengths(node, "Properties")}
            case info.UnionType(types=types):
                return {"anyOf": [self._of(each, taken=taken) for each in types]}
        return {}  # any value

    def _class(self, node: Any, *, taken: bool) -> Schema:
        about = _described(node.cls)
        if not isinstance(node, OBJECTS):
            return {"title": self._names[node.cls], **about, "enum": [encoded(each) for each in node.cls]}
        field = getattr(node, "tag_field", None)
        tag: Schema = {field: {"const": getattr(node, "tag", None)}} if field else {}
        properties = {field.encode_name: self._field(field, taken=taken) for field in node.fields}
        if isinstance(node, info.NamedTupleType) or getattr(node, "array_like", False):
            items = [*tag.values(), *properties.values()]
            required = len(tag) + sum(_present(node, field, taken=taken) for field in node.fields)
            return {**about, **_array(items, at_least=required)}
        present = [*tag, *(field.encode_name for field in node.fields if _present(node, field, taken=taken))]
        schema: Schema = {**about, "type": "object", "properties": {**tag, **properties}}
        if present:
            schema["required"] = present
        if taken and getattr(node, "forbid_unknown_fields", False):
            schema["additionalProperties"] = False
        return schema

    def _field(self, field: Any, *, taken: bool) -> Schema:
        schema = self._of(field.type, taken=taken)
        if not taken or field.default is NODEFAULT:
            return schema
        default = {"default": encoded(field.default)}
        # Beside a reference draft 7 ignores everything.
        return {"allOf": [schema], **default} if "$ref" in schema else {**schema, **default}


def encoded(value: Any) -> Any:
    """Return a value as it is on the wire."""
    return msgspec.json.decode(encode(value))


def description_of(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line, without the marks of Sphinx; an empty text if there is none."""
    text = vars(thing).get("__doc__") if isinstance(thing, type) else getattr(thing, "__doc__", None)
    if not isinstance(text, str) or (isinstance(thing, type) and text.startswith(f"{thing.__name__}(")):
        return ""  # none, or the one that dataclasses write themselves
    return _plain(" ".join(inspect.cleandoc(text).partition("\n\n")[0].split()))


def _plain(text: str) -> str:
    """Return text of a docstring as Markdown, which editors and AsyncAPI's tools show. Text without Sphinx' marks stays as it is."""
    text = re.sub(r":[a-z:]+:`~[\w.]*?(\w+)`", r"`\1`", text)  # :class:`~boats.Yard` is shown as Yard
    text = re.sub(r":[a-z:]+:`([^`]+)`", r"`\1`", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    return re.sub(r"\s*::$", ":", text)  # an example follows in the docstring, and not here


def _described(cls: Any) -> Schema:
    cls = getattr(cls, "__origin__", cls)
    text = "" if issubclass(cls, enum.Enum) and cls.__doc__ == enum.Enum.__doc__ else description_of(cls)
    return {"description": text} if text else {}


def _named(node: Any) -> bool:
    return isinstance(node, OBJECTS) or is_enum(node)


def _present(node: Any, field: Any, *, taken: bool) -> bool:
    """Whether a value of the class always has the field."""
    if taken or isinstance(node, info.TypedDictType):
        return bool(field.required)
    if isinstance(node, info.StructType):
        if not field.required and getattr(node.cls, "__origin__", node.cls).__struct_config__.omit_defaults:
            return False
        types = {each.name: each.type for each in msgspec.structs.fields(node.cls)}
        return msgspec.UnsetType not in get_args(types[field.name])
    unset = field.default is NODEFAULT and field.default_factory is NODEFAULT
    return bool(field.required) or not unset


def _differs(node: Any, seen: set[Any]) -> bool:
    """Whether the values of a class have other fields when the server sends them."""
    if not isinstance(node, OBJECTS) or node.cls in seen:
        return False
    seen.add(node.cls)
    if any(
        _present(node, field, taken=True) != _present(node, field, taken=False)
        or field.default is not NODEFAULT
        for field in node.fields
    ):
        return True
    return any(_differs(each, seen) for field in node.fields for each in nodes(field.type, OBJECTS, set()))


def _constraints(node: Any) -> Schema:
    return {
        name: value for key, name in _CONSTRAINTS.items() if (value := getattr(node, key, None)) is not None
    }


def _lengths(node: Any, of: str) -> Schema:
    bounds = {f"min{of}": node.min_length, f"max{of}": node.max_length}
    return {name: value for name, value in bounds.items() if value is not None}


def _array(items: list[Schema], *, at_least: int) -> Schema:
    return {
        "type": "array",
        "items": items,
        "minItems": at_least,
        "maxItems": len(items),
        "additionalItems": False,
    }


def _as_text(schema: Schema) -> Schema:
    """The schema of a dict's key: JSON has only text there."""
    if schema.get("type") == "integer":
        return {"type": "string", "pattern": "^-?[0-9]+$"}
    if schema.get("type") == "number":
        return {"type": "string"}
    return schema
