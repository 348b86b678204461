"""A driver of the protocol that speaks in dictionaries."""

import json
from typing import Any

import msgspec

from holdfast.protocol.codec import JSON
from holdfast.protocol.codes import Code
from holdfast.protocol.effects import Effect, Send
from holdfast.protocol.frames import ErrorPayload, JoinedPayload
from holdfast.protocol.limits import Limits
from holdfast.protocol.server_protocol import ServerProtocol


class Driver:
    """Sends dictionaries, keeps the effects that are not frames, and remembers all frames."""

    def __init__(self, user: str | None = "7", *, duplex: bool = True, **limits: Any) -> None:
        self.now = 100.0
        self.protocol = ServerProtocol(
            id="s1", user=user, codec=JSON, limits=Limits(**limits), now=self.now, duplex=duplex
        )
        self.sent: list[dict[str, Any]] = []
        self.asked: list[Effect] = []

    def take(self, effects: list[Effect]) -> list[dict[str, Any]]:
        """Note the effects; return the frames among them."""
        new = [json.loads(JSON.encode(effect.frame)) for effect in effects if isinstance(effect, Send)]
        self.sent += new
        self.asked += [effect for effect in effects if not isinstance(effect, Send)]
        return new

    def say(self, message: Any, *, after: float = 0.0) -> list[dict[str, Any]]:
        self.now += after
        data = message if isinstance(message, str | bytes) else json.dumps(message)
        return self.take(self.protocol.receive(data, self.now))

    def open(self) -> "Driver":
        self.say({"type": "ping"})
        self.sent.clear()
        return self

    def join(self, ref: int, topic: str, **payload: Any) -> list[dict[str, Any]]:
        return self.say({"type": "join", "ref": ref, "topic": topic, "payload": payload})

    def leave(self, ref: int, topic: str) -> list[dict[str, Any]]:
        return self.say({"type": "leave", "ref": ref, "topic": topic})

    def let_in(self, ref: int, asked: str, canonical: str | None = None) -> list[dict[str, Any]]:
        assert self.protocol.admitted(asked, canonical or asked)
        return self.take(self.protocol.joined(ref, asked, canonical or asked, JoinedPayload()))

    def refuse(self, ref: int, asked: str, code: Code) -> list[dict[str, Any]]:
        return self.take(self.protocol.refused(ref, asked, code))

    def joined(self, ref: int, topic: str) -> "Driver":
        self.join(ref, topic)
        self.let_in(ref, topic)
        return self

    def last(self) -> Effect:
        return self.asked[-1]

    def fail(self, ref: int | None, topic: str, code: Code) -> list[dict[str, Any]]:
        return self.take(self.protocol.failed(ref, topic, ErrorPayload(code=code.name, message=code.message)))


def gist(frames: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return type, reference and code of each frame."""
    return [
        (
            frame["type"],
            frame.get("ref"),
            *([code] if (code := (frame.get("payload") or {}).get("code")) else []),
        )
        if isinstance(frame.get("payload"), dict)
        else (frame["type"], frame.get("ref"))
        for frame in frames
    ]


def text(**message: Any) -> str:
    return msgspec.json.encode(message).decode()
