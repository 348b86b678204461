"""The contract of a project's topics: everything that a client has to know of them, read from their classes."""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from holdfast.topics.action import Action, annotations_of
from holdfast.topics.declaration import Declaration
from holdfast.topics.routes import Parameter
from holdfast.topics.schema import why_unsupported
from holdfast.topics.topic import Topic

from .json_schema import JsonSchemas, Schema, description_of, encoded

_PARAMETER = re.compile(r"<(?:[^<>:]*:)?([^<>]*)>")


class EventContract(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a topic. ``payload`` is its schema. ``durable``: the log keeps it, and it has an offset."""

    name: str
    description: str
    payload: Schema
    durable: bool
    version: int


class ActionContract(msgspec.Struct, frozen=True, kw_only=True):
    """One action of a topic. ``arguments`` is the schema of an object; ``optional``: it may be left out."""

    name: str
    description: str
    arguments: Schema
    optional: bool
    result: Schema
    rate: str
    once: bool
    requires: tuple[str, ...]


class TopicContract(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of topic. ``parts`` are the texts and the parameters of its route. ``meta`` is the schema of a member's data, and
    ``snapshot`` that of the topic's state; ``None`` where the topic has none."""

    name: str
    route: str
    description: str
    parts: tuple[str | Parameter, ...]
    declared: Declaration
    events: tuple[EventContract, ...]
    actions: tuple[ActionContract, ...]
    meta: Schema | None
    snapshot: Schema | None

    @property
    def address(self) -> str:
        """The route with the names of its parameters only: ``rooms/{room}``."""
        return _PARAMETER.sub(r"{\1}", self.route)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return self.declared.route.parameters


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The topics of a project, in the order of their names, and the schemas that theirs refer to."""

    topics: tuple[TopicContract, ...]
    schemas: JsonSchemas

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each event that has more than its first."""
        return {e.name: e.version for topic in self.topics for e in topic.events if e.version > 1}

    @classmethod
    def of(cls, topics: Iterable[type[Topic]]) -> "Contract":
        """Read the contract of these topics."""
        known = sorted(topics, key=lambda topic: topic.declared.route.text)
        sent: list[Any] = []
        taken: list[Any] = []
        for topic in known:
            declared = topic.declared
            sent += declared.events.values()
            sent += [_returned(topic, "presence_meta"), _returned(topic, "snapshot")]
            sent += [action.returns for action in declared.actions.values()]
            taken += [field.type for action in declared.actions.values() for field in action.arguments]
        schemas = JsonSchemas(sent, taken, others=known)
        found = (_topic(topic, schemas) for topic in known)
        return cls(topics=tuple(sorted(found, key=lambda topic: topic.name)), schemas=schemas)


def _topic(topic: type[Topic], schemas: JsonSchemas) -> TopicContract:
    declared = topic.declared
    events = (
        EventContract(
            name=name,
            description=description_of(event),
            payload=schemas.sent(event),
            durable=declared.durable and event.__durable__,
            version=event.__version__,
        )
        for name, event in sorted(declared.events.items())
    )
    meta = _returned(topic, "presence_meta") if declared.presence_meta else None
    return TopicContract(
        name=schemas.name_of(topic),
        route=declared.route.text,
        description=description_of(topic),
        parts=declared.route.parts,
        declared=declared,
        events=tuple(events),
        actions=tuple(_action(action, schemas) for _, action in sorted(declared.actions.items())),
        meta=schemas.sent(meta) if declared.presence_meta else None,
        snapshot=schemas.sent(_returned(topic, "snapshot")) if declared.snapshot else None,
    )


def _action(action: Action, schemas: JsonSchemas) -> ActionContract:
    defaults = inspect.signature(action.function).parameters
    properties: dict[str, Schema] = {}
    for field in action.arguments:
        schema = schemas.taken(field.type)
        if not field.required and (default := _default(defaults[field.name].default)):
            schema = {"allOf": [schema], **default} if "$ref" in schema else {**schema, **default}
        properties[field.encode_name] = schema
    required = [field.encode_name for field in action.arguments if field.required]
    arguments: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        arguments["required"] = required
    return ActionContract(
        name=action.name,
        description=description_of(action.function),
        arguments=arguments,
        optional=not required,
        result=schemas.sent(action.returns),
        rate="" if action.rate is None else str(action.rate),
        once=action.once,
        requires=action.requires,
    )


def _default(value: Any) -> Schema:
    """The default of an argument, if it can be told."""
    try:
        return {"default": encoded(value)}
    except (TypeError, ValueError):
        return {}


def _returned(topic: type[Topic], hook: str) -> Any:
    """The type that a topic's method returns, as far as it says so and the type can be sent."""
    method = inspect.getattr_static(topic, hook, None)
    if not inspect.isfunction(method):
        return Any
    try:
        annotation = annotations_of(f"{topic.__name__}.{hook}", topic, method, {"return"}).get("return", Any)
    except TypeError:
        return Any
    return Any if why_unsupported(annotation) else annotation
