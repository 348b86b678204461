"""Events whose payload is a number, and a reader that goes through a topic page by page."""

import json

from holdfast.log.base import Draft, Log
from holdfast.protocol.positions import Position


def drafts(topic: str, *numbers: int) -> list[Draft]:
    return [Draft(topic=topic, name="number.said", payload=b"%d" % number) for number in numbers]


def create(log: Log, *topics: str) -> None:
    """Store topics without entries, as after their first event, so that the next events find them."""
    for topic in topics:
        log.rotate_epoch(topic)


def numbers(log: Log, topic: str, *, page: int = 7) -> list[int]:
    """Return all events that can be read of a topic; fails at a gap."""
    head = log.heads([topic])[topic]
    offset, found = head.floor, []
    while entries := log.read(topic, Position(epoch=head.epoch, offset=offset), page):
        assert len(entries) <= page
        for entry in entries:
            offset += 1
            assert entry.offset == offset
            found.append(json.loads(entry.payload))
    return found
