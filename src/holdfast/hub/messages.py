"""Messages that processes send each other about one topic, as bytes on the backplane.

The hubs of the sending process take the value itself (:data:`Delivery`); only the way to other processes needs bytes.
"""

from collections.abc import Sequence

import msgspec

from holdfast.log.announcement import Entries
from holdfast.log.base import Batch, Draft
from holdfast.presence.base import Change


class EphemeralEvent(msgspec.Struct, frozen=True, array_like=True):
    """One event of an :class:`Ephemeral`. Its fields are those of a :class:`~holdfast.log.base.Draft`, without the topic."""

    name: str
    payload: bytes
    exclude: str


class Ephemeral(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Events that are in no log, in the order in which they were published."""

    events: tuple[EphemeralEvent, ...]


class PresenceDiff(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """A change of a topic's members (:class:`~holdfast.presence.base.Change`)."""

    before: str
    mark: str
    count: int
    joined: dict[str, bytes] | None
    left: tuple[str, ...]


Message = Entries | Ephemeral | PresenceDiff

Delivery = Batch | Change | Sequence[Draft] | Sequence[EphemeralEvent]
"""What a hub takes for one topic: entries of the log, a change of its members, or ephemeral events."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder[Message](Message).decode


def encode(item: Delivery) -> bytes:
    """Return ``item`` as bytes for other processes. The receiver knows the topic from the backplane."""
    if isinstance(item, Batch):
        return _encode(Entries.of(item))
    if isinstance(item, Change):
        joined = None if item.joined is None else dict(item.joined)
        return _encode(
            PresenceDiff(before=item.before, mark=item.mark, count=item.count, joined=joined, left=item.left)
        )
    events = (EphemeralEvent(event.name, event.payload, event.exclude) for event in item)
    return _encode(Ephemeral(tuple(events)))


def decode(topic: str, message: bytes) -> Delivery:
    """Read what :func:`encode` wrote. Raises ``msgspec.MsgspecError`` if another program wrote it."""
    found = _decode(message)
    if isinstance(found, Entries):
        return found.batch(topic)
    if isinstance(found, Ephemeral):
        return found.events
    return Change(
        before=found.before, mark=found.mark, count=found.count, joined=found.joined, left=found.left
    )
