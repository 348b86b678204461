"""Server-sent events as bytes: the encoding of messages, and the event ids of one stream.

Every message of the protocol is the ``data`` of one server-sent event, as the JSON text that a WebSocket carries
(HTML Standard, section 9.2). Each event that is in a log has an ``id`` in the same block, so that a client has either both or neither.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import cast

from holdfast.protocol.codec import JSON
from holdfast.protocol.event_ids import entry, mark_of
from holdfast.protocol.frames import GoodbyeFrame, Inbound, Outbound, PongFrame
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst, Prepared

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx passes on each event at once
)

KEEPALIVE = ":\n\n"
"""A comment. Clients skip it; proxies see that the connection is alive."""

Form = Callable[[Prepared], bytes]


class EventStreamCodec:
    """Encodes the server's messages as blocks of an event stream. The client's messages come by other requests, as JSON."""

    name = "event-stream"
    binary = False

    def decode(self, data: str | bytes) -> Inbound:
        return JSON.decode(data)

    def encode(self, frame: Outbound) -> str | bytes:
        if isinstance(frame, PongFrame):
            return KEEPALIVE
        text = cast("str", JSON.encode(frame))
        block = f"data: {text}\n\n"
        if isinstance(frame, GoodbyeFrame) and frame.payload.after is not None:
            return f"{retry(frame.payload.after)}{block}"
        return block

    def payload(self, raw: bytes) -> bytes:
        return raw


EVENT_STREAM = EventStreamCodec()


def retry(seconds: float) -> str:
    """Return the field that tells an ``EventSource`` how long to wait before it reconnects."""
    return f"retry: {round(seconds * 1000)}\n"


# ── forms of an event ─────────────────────────────────────────────────────────────────────────────────────────────────


def without_id(event: Prepared) -> bytes:
    """Return the block of an event that is in no log: the client's position stays as it is."""
    return b"data: %b\n\n" % event.json


def after_prefix(event: Prepared) -> bytes:
    """Return the rest of a block whose ``id`` has been begun: the offset and stamp of this event, and the event."""
    stamp = f".{event.stamp}" if event.stamp else ""
    return f"{event.offset}{stamp}\ndata: ".encode() + event.json + b"\n\n"


@lru_cache(maxsize=4096)
def _alone(prefix: bytes) -> Form:
    """Return the form of events for streams of one topic. All streams that have the same prefix share it, and so its bytes."""

    def block(event: Prepared) -> bytes:
        return without_id(event) if event.offset is None else prefix + event.form(after_prefix)

    return block


# ── one stream ────────────────────────────────────────────────────────────────────────────────────────────────────────


class StreamIds:
    """The positions of one stream, as the ids of its events. ``topics`` is how many the client asked for, and ``since`` the positions
    that it gave, by the names that it asked for.

    A position that the client gave stays in the ids until its topic is joined. Else a stream that is cut before that, or to which
    the topic is refused for a while, would take the position with it.
    """

    __slots__ = ("_at", "_begun", "_field", "_form", "_prefixes", "_single", "_written_for")

    def __init__(self, topics: int, since: Mapping[str, Position]) -> None:
        self._single = topics == 1
        self._form: Form = without_id
        self._prefixes: dict[str, str] = {}  # by canonical name: the topic's entry up to the offset
        # The topics' whole entries, by canonical name; by the name that was asked for until the topic is joined.
        self._at = {asked: entry(asked, position) for asked, position in since.items()}
        self._begun = b""
        # The id field that goes with the next message. The welcome has one too: a client may begin each stream without an id.
        self._field = f"id: {self._text()}\n" if since else ""
        self._written_for = ""

    def begin(self, asked: str, topic: str, position: Position) -> None:
        """Note where the stream is in ``topic``, which the client called ``asked``. The next message carries it as its id."""
        prefix = f"{mark_of(asked)}@{position.epoch}:"
        self._at.pop(asked, None)
        self._at[topic] = entry(asked, position)
        if self._single:
            self._form = _alone(f"id: {prefix}".encode())
        self._prefixes[topic] = prefix
        self._written_for = ""
        self._field = f"id: {self._text()}\n"

    def move(self, topic: str, position: Position) -> None:
        """Note a reset of a topic. The next message carries the new position as its id."""
        prefix = self._prefixes.get(topic)
        if prefix is None:
            return
        mark = prefix.partition("@")[0]
        self._at[topic] = f"{mark}@{position}"
        self._prefixes[topic] = prefix = f"{mark}@{position.epoch}:"
        if self._single:
            self._form = _alone(f"id: {prefix}".encode())
        self._written_for = ""
        self._field = f"id: {self._text()}\n"

    def _text(self) -> str:
        return ";".join(self._at.values())

    def block(self, data: str | bytes) -> bytes:
        """Return the block of a message of the protocol, with the id that goes with it."""
        field, self._field = self._field, ""
        return (field + data).encode() if isinstance(data, str) else data

    def blocks(self, burst: Burst) -> bytes:
        """Return the events of one topic as blocks, each with its id."""
        if self._single:
            return burst.joined(self._form)
        events = burst.events
        topic = events[0].topic
        if topic not in self._prefixes or events[0].offset is None:
            return burst.joined(without_id)
        if topic != self._written_for:
            # The entries of the other topics do not change until one of them has an event. That of this topic is replaced by the
            # entry that follows.
            self._begun = f"id: {self._text()};{self._prefixes[topic]}".encode()
            self._written_for = topic
        begun, last = self._begun, events[-1]
        self._at[topic] = f"{self._prefixes[topic]}{last.offset}{f'.{last.stamp}' if last.stamp else ''}"
        return b"".join([begun + event.form(after_prefix) for event in events])
