"""Values that a live client returns to the test."""

from typing import Any

import msgspec

from holdfast.protocol.positions import Position


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a join.

    ``topic`` is the canonical name. ``position`` is the head of the log at the time of the join, ``None`` on an ephemeral
    topic. ``recovered`` says whether the server could resume from the requested position, ``None`` if none was requested.
    ``snapshot`` is the topic's state, decoded from JSON, ``None`` if the answer has none.
    """

    topic: str
    position: Position | None
    recovered: bool | None = None
    snapshot: Any = None


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it arrived over the wire. ``payload`` has its fields, decoded from JSON. ``offset`` is ``None`` for an
    ephemeral event."""

    topic: str
    name: str
    payload: Any
    raw: bytes
    offset: int | None = None

    def __str__(self) -> str:
        at = "" if self.offset is None else f" at {self.offset}"
        text = self.raw.decode()
        return f"{self.name} on {self.topic}{at} {text if len(text) <= 200 else text[:199] + '…'}"


class ResetNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The server could not continue a topic's events without a gap. ``position`` is where it goes on."""

    topic: str
    reason: str
    position: Position | None = None

    def __str__(self) -> str:
        return f"reset of {self.topic}: {self.reason}"


class LeftNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The server ended a subscription."""

    topic: str
    code: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"the server ended the subscription to {self.topic}: {self.code}{_because(self.reason)}"


class CloseNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The server closed the connection: its code in the catalogue, the WebSocket close code, the text."""

    code: str
    close: int
    message: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"the server closed the connection: {self.close} {self.code}{_because(self.reason)}"


def _because(reason: str | None) -> str:
    return "" if reason is None else f" ({reason})"
