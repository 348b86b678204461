"""The contract as types of TypeScript, for the browser client ``holdfast-client``."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.topics.versions import PARAMETER, written

from .contract import ActionContract, Contract, EventContract, TopicContract
from .json_schema import REF, Schema

HEAD = "// Written by `manage.py holdfast schema --format typescript`. Do not edit it: run the command again."

VERSIONS = "// Versions of events, for the URL of a client without {% live_script %}:"

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_SAID = (
    "format",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
)
_SAID_OF_LISTS = ("minItems", "maxItems", "uniqueItems", "default")
"""Constraints that TypeScript's types cannot hold, and comments can."""


def text(contract: Contract, *, module: str, strict: bool) -> str:
    """Return the text of a ``.d.ts``, which is the same for the same topics.

    ``module`` is the name by which the project's modules import the client. ``strict`` makes the name of a topic that no route has an
    error.
    """
    versions = written(contract.versions)
    parts = [f"{HEAD}\n{VERSIONS} ?{PARAMETER}={versions}" if versions else HEAD]
    parts += [_interface(topic) for topic in contract.topics]
    taken = contract.schemas.taken_names()
    parts += [
        _named(name, each, taken=name in taken) for name, each in contract.schemas.definitions().items()
    ]
    routes = [f"    {_property(topic.route)}: {topic.name};" for topic in contract.topics]
    known = ["  interface Topics {", *routes, "  }"]
    choice = ["  interface TopicNames {", "    strict: true;", "  }"] if strict else []
    parts.append("\n".join([f"declare module {_quoted(module)} {{", *known, *choice, "}"]))
    if not contract.topics:
        parts.append("export {};")
    return "\n\n".join(parts) + "\n"


def _interface(topic: TopicContract) -> str:
    lines = [*_comment(topic.description, [_route(topic)]), f"export interface {topic.name} {{"]
    lines += [f"  name: {_pattern(topic)};"]
    lines += _block("events", [line for event in topic.events for line in _event(topic, event)])
    lines += _block("actions", [line for action in topic.actions for line in _action(action)])
    lines += [f"  meta: {'undefined' if topic.meta is None else type_of(topic.meta)};"]
    lines += [f"  snapshot: {'undefined' if topic.snapshot is None else type_of(topic.snapshot)};"]
    return "\n".join([*lines, "}"])


def _route(topic: TopicContract) -> str:
    return f"Route: `{topic.route}`."


def _pattern(topic: TopicContract) -> str:
    """The type of the topic's names: a template with a string for each parameter."""
    texts = [
        re.sub(r"([`\\]|\$\{)", r"\\\1", part) if isinstance(part, str) else "${string}"
        for part in topic.parts
    ]
    return f"`{''.join(texts)}`" if topic.parameters else _quoted(topic.route)


def _block(name: str, lines: list[str]) -> list[str]:
    return [f"  {name}: {{", *(f"    {line}" for line in lines), "  };"] if lines else [f"  {name}: {{}};"]


def _event(topic: TopicContract, event: EventContract) -> Iterator[str]:
    passing = ["Not stored."] if topic.declared.durable and not event.durable else []
    yield from _comment("", passing)
    yield f"{_property(event.name)}: {type_of(event.payload)};"


def _action(action: ActionContract) -> Iterator[str]:
    said = [f"At most {action.rate}."] if action.rate else []
    yield from _comment(action.description, said)
    result = type_of(action.result)
    if not action.arguments["properties"]:
        yield f"{_property(action.name)}(): {result};"
        return
    payload = _object(action.arguments, taken=True)
    yield f"{_property(action.name)}(payload{'?' if action.optional else ''}: {payload[0]}"
    yield from payload[1:-1]
    yield f"{payload[-1]}): {result};"


def _named(name: str, schema: Schema, *, taken: bool) -> str:
    about = _comment(schema.get("description", ""))
    if "properties" in schema:
        lines = _object(schema, taken=taken)
        return "\n".join([*about, f"export interface {name} {lines[0]}", *lines[1:]])
    return "\n".join([*about, f"export type {name} = {type_of(schema)};"])


def _object(schema: Schema, *, taken: bool) -> list[str]:
    """The lines of an object's type. A client that leaves out a field may give ``undefined`` for it as well."""
    required = schema.get("required", ())
    lines = []
    for name, inner in schema["properties"].items():
        lines += [f"  {line}" for line in _comment(inner.get("description", ""), _tags(inner))]
        missing = name not in required
        undefined = " | undefined" if missing and taken else ""
        lines.append(f"  {_property(name)}{'?' if missing else ''}: {type_of(inner)}{undefined};")
    return ["{", *lines, "}"] if lines else ["{}"]


def type_of(schema: Schema) -> str:
    """Return the type of the values of a schema."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF)
    if "allOf" in schema:
        return type_of(schema["allOf"][0])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(type_of(each) for each in schema["anyOf"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"]) or "never"
    kind = schema.get("type")
    if kind == "array":
        return _array(schema)
    if kind == "object":
        if "properties" in schema:
            return " ".join(line.strip() for line in _object(schema, taken=False))
        return f"Record<string, {type_of(schema.get('additionalProperties', {}))}>"
    return _PLAIN.get(str(kind), "unknown")


def _array(schema: Mapping[str, Any]) -> str:
    items = schema.get("items", {})
    if isinstance(items, list):
        least = schema.get("minItems", len(items))
        return f"[{', '.join(type_of(each) + ('?' if at >= least else '') for at, each in enumerate(items))}]"
    inner = type_of(items)
    return f"({inner})[]" if " | " in inner else f"{inner}[]"


def _tags(schema: Schema) -> list[str]:
    inner = schema["allOf"][0] | schema if "allOf" in schema else schema
    said = [(key, inner[key]) for key in (*_SAID, *_SAID_OF_LISTS) if key in inner]
    return [
        f"@{key} {json.dumps(value) if not isinstance(value, str) or key == 'default' else value}"
        for key, value in said
    ]


def _comment(description: str, more: list[str] | None = None) -> list[str]:
    """The lines of a comment; none if there is nothing to say."""
    lines = [line.replace("*/", "*\\/") for line in (description, *(more or ())) if line]
    if len(lines) < 2:
        return [f"/** {lines[0]} */"] if lines else []
    return ["/**", *(f" * {line}" for line in lines), " */"]


def _property(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text)
