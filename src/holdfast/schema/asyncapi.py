"""The contract as a document of AsyncAPI 3, in which the server is the application: it sends events and receives calls.

The schemas describe whole messages, as ``holdfast.v1.json`` has them (PROTOCOL.md). Names that begin with ``x-holdfast`` hold facts
that AsyncAPI has no place for.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec

from holdfast.protocol import codes

from .contract import ActionContract, Contract, EventContract, TopicContract
from .json_schema import REF, Schema

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer", "minimum": 0}
_OF_CALLS = (
    codes.NOT_JOINED,
    codes.FORBIDDEN,
    codes.UNKNOWN_ACTION,
    codes.INVALID_PAYLOAD,
    codes.NOT_FOUND,
    codes.REFUSED,
    codes.KEY_REUSED,
    codes.TOO_MANY_CALLS,
    codes.RATE_LIMITED,
    codes.TIMEOUT,
    codes.OUTCOME_UNKNOWN,
    codes.UNAVAILABLE,
    codes.INTERNAL,
)
"""The codes with which a call can fail."""

_ERROR = "Holdfast.Error"
"""The name of the schema of an error. No class has a name with a dot."""


def document(contract: Contract, *, title: str, version: str) -> dict[str, Any]:
    """Return the document, as values for JSON."""
    schemas = dict(contract.schemas.definitions())
    if any(topic.actions for topic in contract.topics):
        schemas[_ERROR] = _error()
    channels = {topic.name: _channel(topic) for topic in contract.topics}
    operations = {name: value for topic in contract.topics for name, value in _operations(topic)}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas},
    }


def text(contract: Contract, *, title: str, version: str) -> str:
    """Return the text of the document, which is the same for the same topics."""
    written = msgspec.json.encode(document(contract, title=title, version=version))
    return msgspec.json.format(written, indent=2).decode() + "\n"


def _channel(topic: TopicContract) -> dict[str, Any]:
    declared, keep = topic.declared, topic.declared.keep
    facts: dict[str, Any] = {"x-holdfast-route": topic.route, "x-holdfast-durable": declared.durable}
    if keep is not None:
        facts["x-holdfast-keep"] = {
            **({"days": keep.age / timedelta(days=1)} if keep.age else {}),
            **({"count": keep.count} if keep.count else {}),
        }
    if declared.requires:
        facts["x-holdfast-requires"] = list(declared.requires)
    if declared.presence is not None:
        facts["x-holdfast-presence"] = {
            "list_limit": declared.presence.list_limit,
            "anonymous": declared.presence.anonymous,
            "meta": topic.meta,
        }
    if topic.snapshot is not None:
        facts["x-holdfast-snapshot"] = topic.snapshot
    channel: dict[str, Any] = {"address": topic.address, "title": topic.name}
    if topic.description:
        channel["description"] = topic.description
    if topic.parameters:
        channel["parameters"] = {
            name: {
                "description": "The id of the user who joins; a client may write me."
                if parameter.is_me
                else f"{parameter.source} in the route: {parameter.expression}"
            }
            for name, parameter in topic.parameters.items()
        }
    channel["messages"] = {
        **{f"event.{event.name}": _event(event) for event in topic.events},
        **{name: message for action in topic.actions for name, message in _call(action)},
    }
    return {**channel, **facts}


def _event(event: EventContract) -> dict[str, Any]:
    fields: dict[str, Schema] = {"topic": _TEXT, "name": {"const": event.name}}
    required = ["topic", "name", "payload"]
    if event.durable:
        fields |= {"offset": {"type": "integer", "minimum": 1}, "stamp": _NUMBER}
        required.insert(2, "offset")
    return {
        "name": event.name,
        **({"summary": event.description} if event.description else {}),
        "payload": _message("event", {**fields, "payload": event.payload}, required),
        "x-holdfast-durable": event.durable,
        **({"x-holdfast-version": event.version} if event.version > 1 else {}),
    }


def _call(action: ActionContract) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield the messages of a call: the call itself, its result and its error."""
    key: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,100}$"}
    asked = {
        "ref": _NUMBER,
        "topic": _TEXT,
        "name": {"const": action.name},
        "key": key,
        "payload": action.arguments,
    }
    required = ["topic", "name", *(() if action.optional else ("payload",))]
    about: dict[str, Any] = {"summary": action.description} if action.description else {}
    limits = {
        "x-holdfast-once": action.once,
        **({"x-holdfast-rate": action.rate} if action.rate else {}),
        **({"x-holdfast-requires": list(action.requires)} if action.requires else {}),
    }
    yield (
        f"call.{action.name}",
        {"name": action.name, **about, "payload": _message("call", asked, required), **limits},
    )
    answered = _message("result", {"ref": _NUMBER, "payload": action.result}, ["ref", "payload"])
    yield f"result.{action.name}", {"name": f"result of {action.name}", "payload": answered}
    failed = _message("error", {"ref": _NUMBER, "payload": {"$ref": REF + _ERROR}}, ["payload"])
    yield f"error.{action.name}", {"name": f"error of {action.name}", "payload": failed}


def _operations(topic: TopicContract) -> Iterable[tuple[str, dict[str, Any]]]:
    channel = {"$ref": f"#/channels/{topic.name}"}

    def message(key: str) -> dict[str, str]:
        return {"$ref": f"#/channels/{topic.name}/messages/{key}"}

    for event in topic.events:
        yield (
            f"{topic.name}.event.{event.name}",
            {
                "action": "send",
                "channel": channel,
                "messages": [message(f"event.{event.name}")],
            },
        )
    for action in topic.actions:
        answers = [message(f"result.{action.name}"), message(f"error.{action.name}")]
        yield (
            f"{topic.name}.call.{action.name}",
            {
                "action": "receive",
                "channel": channel,
                "messages": [message(f"call.{action.name}")],
                "reply": {"channel": channel, "messages": answers},
            },
        )


def _message(kind: str, fields: dict[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, **fields},
        "required": ["type", *required],
    }


def _error() -> Schema:
    properties = {
        "code": {"enum": sorted(code.name for code in _OF_CALLS)},
        "message": {"type": "string", "description": "For developers."},
        "reason": {"type": "string", "description": "With refused: the application's word for programs."},
        "retry_after": {"type": "number", "minimum": 0, "description": "Seconds."},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "With invalid_payload: texts by the name of a field; __all__ for the others.",
        },
    }
    return {"type": "object", "properties": properties, "required": ["code", "message"]}
