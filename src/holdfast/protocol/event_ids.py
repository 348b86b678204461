"""Event ids of server-sent events: the positions of all topics of one stream, as text.

A browser's ``EventSource`` sends the last id that it has read back in ``Last-Event-ID`` when it reconnects (HTML Standard, section
9.2). The id of each event therefore says where the stream is in *every* topic, and the server resumes each from there.

An id is a list of entries ``MARK@POSITION``, separated by ``;``::

    5d41402abc@k3:41.7;7d793037a0@q9:3

``MARK`` stands for a topic by the name that the client asked for, ``POSITION`` is the text of a
:class:`~holdfast.protocol.positions.Position`. A later entry of a topic replaces an earlier one. Clients do not read ids.

A client that keeps the positions of its topics itself writes a list of its own. ``MARK`` is then the place of a topic among those
of its request, from 1: ``1@k3:41.7;2@q9:3``.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from .positions import Position

LARGEST = 16 * 1024
"""Bytes of an id that a server reads. Proxies and servers refuse longer headers anyway."""

MARK_BYTES = 5


class BadEventId(ValueError):
    """An id that this server has not made."""


@lru_cache(maxsize=4096)
def mark_of(topic: str) -> str:
    """Return the mark of a topic: 40 bits of a hash, as ten hexadecimal digits."""
    return hashlib.blake2b(topic.encode("utf-8", "surrogatepass"), digest_size=MARK_BYTES).hexdigest()


def parse(text: str, topics: Iterable[str]) -> dict[str, Position]:
    """Return the positions that an id, or a client's own list, holds for those of ``topics`` that it names. Entries of other topics
    are skipped.

    Raises :class:`BadEventId` for text that is no id.
    """
    if len(text) > LARGEST:
        raise BadEventId(f"an event id of {len(text)} characters; the longest has {LARGEST}")
    asked = list(topics)
    names = {mark_of(topic): topic for topic in asked}
    names.update((str(place), topic) for place, topic in enumerate(asked, 1))
    found: dict[str, Position] = {}
    for entry in text.split(";") if text else ():
        mark, at, position = entry.partition("@")
        if not at:
            raise BadEventId("an event id that this server has not made")
        if mark in names:
            try:
                found[names[mark]] = Position.parse(position)
            except msgspec.ValidationError:
                raise BadEventId("an event id that this server has not made") from None
    return found


def entry(topic: str, position: Position) -> str:
    """Return the entry of a topic, by the name that the client asked for."""
    return f"{mark_of(topic)}@{position}"
