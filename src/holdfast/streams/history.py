"""History pages: the events of a durable topic in fixed spans of offsets, for readers that have not joined it.

Page *n* holds the events with the offsets 100(n - 1) + 1 to 100n. It is named by the position of its last event, epoch and stamp
included. A log that goes back in time gives the event at that offset another stamp, so a name belongs to one content for ever,
and caches may keep it. Each page names the one before it; a reader begins at the newest events and goes back.

The newest events have no name until they fill a page.
"""

from collections.abc import Sequence

import msgspec

from holdfast.log.base import Diverged, Entry, Head, Log, LogUnavailable, Trimmed
from holdfast.protocol.positions import Position

from .prepared import Prepared
from .recent import PAGE_BYTES

SPAN = 100
"""Offsets of one page."""

TRIES = 5
"""Attempts at a page while the log is being trimmed."""


class NoPage(Exception):
    """There is no full page that ends at this position yet."""


class Gone(Exception):
    """The events are not kept, or another log took the place of theirs. ``reason`` is that of a ``reset``; ``head`` is what the
    log has now."""

    def __init__(self, reason: str, head: Head) -> None:
        super().__init__(reason)
        self.reason, self.head = reason, head


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page, or the newest events, as far as the first read of the log brought it.

    ``position`` is that of its last event. ``previous`` is the name of the page before it, or ``None`` if that page's last
    event is not kept. ``final``: the page is full, and each further read finds the same. ``first`` is the offset
    after which its events begin. ``entries`` end before ``position`` if the events are large; :func:`rest` reads on.
    """

    topic: str
    position: Position
    previous: Position | None
    first: int
    final: bool
    entries: Sequence[Entry]

    @property
    def tag(self) -> str:
        """Text that identifies the content: an entity tag (RFC 9110, section 8.8.3)."""
        return f'"{self.position}"' if self.final else f'"{self.position}/{self.first}/{self.previous}"'

    @property
    def whole(self) -> bool:
        """Whether ``entries`` are all events of the page."""
        return self.first + len(self.entries) == self.position.offset

    @property
    def head(self) -> bytes:
        """The JSON before the events."""
        previous = "null" if self.previous is None else f'"{self.previous}"'
        topic = msgspec.json.encode(self.topic)
        return b'{"topic":%b,"position":"%b","previous":%b,"events":[' % (
            topic,
            str(self.position).encode(),
            previous.encode(),
        )

    def messages(self, entries: Sequence[Entry]) -> bytes:
        """Return entries as the messages that bring them to subscribers, in JSON, with commas between them."""
        return b",".join(
            Prepared(self.topic, entry.name, entry.payload, entry.offset, stamp=entry.stamp).json
            for entry in entries
        )


END = b"]}"
"""The JSON after the events."""


def newest(log: Log, topic: str) -> HistoryPage:
    """Return the events after the last full page. Raises ``LogError``."""
    for _ in range(TRIES):
        head = log.heads([topic])[topic]
        begin = head.offset // SPAN * SPAN
        try:
            return _read(log, topic, head.position, begin, head.floor)
        except Trimmed:
            continue
    raise LogUnavailable(f"topic {topic!r}: its log changes faster than a page of it can be read")


def full(log: Log, topic: str, upto: Position) -> HistoryPage:
    """Return the page that ends at a position, or what is kept of it. If ``upto`` has no stamp, the page's position has.

    Raises :class:`NoPage`, :class:`Gone` and ``LogError``.
    """
    begin, floor = upto.offset - SPAN, 0
    for _ in range(TRIES):
        try:
            return _read(log, topic, upto, begin, floor)
        except Trimmed as gone:
            head = gone.head
            if head.epoch == upto.epoch and head.offset < upto.offset:
                raise NoPage from None
            if head.epoch != upto.epoch or isinstance(gone, Diverged):
                raise Gone("epoch", head) from None
            if head.floor >= upto.offset:
                raise Gone("trimmed", head) from None
            floor = head.floor
    raise LogUnavailable(f"topic {topic!r}: its log changes faster than a page of it can be read")


def rest(log: Log, page: HistoryPage, after: Entry) -> list[Entry]:
    """Return the entries of a page after one of them, as far as one read brings them. Raises ``LogError``."""
    position = Position(epoch=page.position.epoch, offset=after.offset, stamp=after.stamp)
    return log.read(page.topic, position, page.position.offset - after.offset, PAGE_BYTES)


def _read(log: Log, topic: str, upto: Position, begin: int, floor: int) -> HistoryPage:
    """Read a page that begins after the offset ``begin``, of a log without the entries up to ``floor``.

    The entry before the page is read too: its stamp belongs to the name of the page before. Raises ``Trimmed``.
    """
    has_previous = begin > 0 and floor < begin
    after = begin - 1 if has_previous else max(begin, floor)
    limit = upto.offset - after
    found = log.read(topic, Position(epoch=upto.epoch, offset=after), limit, PAGE_BYTES) if limit else []
    entries = found[1:] if has_previous else found
    last = _last(log, topic, upto, found) if limit else None
    return HistoryPage(
        topic=topic,
        position=upto if last is None else Position(epoch=upto.epoch, offset=last.offset, stamp=last.stamp),
        previous=Position(epoch=upto.epoch, offset=begin, stamp=found[0].stamp) if has_previous else None,
        first=max(begin, floor),
        final=upto.offset - begin == SPAN and (has_previous or not (begin or floor)) and bool(upto.stamp),
        entries=entries,
    )


def _last(log: Log, topic: str, upto: Position, found: Sequence[Entry]) -> Entry:
    """Return the last entry of a page, after a check that it is the one that the page is named by."""
    if found and found[-1].offset == upto.offset:
        last = found[-1]
    else:
        before = Position(epoch=upto.epoch, offset=upto.offset - 1)
        entries = log.read(topic, before, 1)
        if not entries:
            raise NoPage
        last = entries[0]
    if upto.stamp and last.stamp != upto.stamp:
        raise Diverged(topic, upto.offset, log.heads([topic])[topic])
    return last
