"""Policy for slow clients on topics without a log: drop events, conflate them, or close the connection.

Durable topics need none of this: a client that falls behind is served from the log.
"""

import enum
from collections import OrderedDict
from typing import ClassVar, Never, Self

import msgspec

from holdfast.limits.base import Rate
from holdfast.metrics import Counters
from holdfast.protocol.construction import Explained, shortened

from .prepared import Burst, Prepared

BUFFER_BYTES = 64 * 1024

EVENT_BYTES = 128
"""Bytes that a waiting event costs besides its payload, approximately."""

HIGHEST_RATE = 100
"""Events of a key per second. An event loop's timer is about a millisecond off, and screens show fewer."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class SlowKind(enum.Enum):
    DROP = "drop"
    CONFLATE = "conflate"
    DISCONNECT = "disconnect"


class Slow(msgspec.Struct, metaclass=Explained, frozen=True):
    """What a topic without a log does about a client that reads more slowly than events arrive::

        class Ticker(Topic):
            slow = Slow.conflate("symbol")

    Made by :meth:`drop`, :meth:`conflate` or :meth:`disconnect`. Each lets at most ``buffer_bytes`` of events (64 KiB by
    default) wait for one client and one topic, beyond the connection's own write buffer.
    """

    __example__: ClassVar[str] = 'Slow.drop(), Slow.conflate("symbol") or Slow.disconnect()'

    kind: SlowKind
    key: tuple[str, ...] = ()
    buffer_bytes: int = BUFFER_BYTES
    rate: Rate | None = None

    @property
    def conflates(self) -> bool:
        """May a newer event replace an older one?"""
        return self.kind is SlowKind.CONFLATE

    def __post_init__(self) -> None:
        if not isinstance(self.kind, SlowKind):
            raise TypeError(
                f"Slow({self.kind!r}): a Slow is made by one of its methods; write {self.__example__}"
            )

    @classmethod
    def drop(cls, *given: Never, buffer_bytes: int = BUFFER_BYTES) -> Self:
        """Keep the newest events and drop older ones. The client gets a ``reset`` with the reason ``interrupted``."""
        return cls(SlowKind.DROP, (), _checked("drop", buffer_bytes, given))

    @classmethod
    def conflate(cls, *key: str, rate: str | Rate | None = None, buffer_bytes: int = BUFFER_BYTES) -> Self:
        """Keep only the latest of the events that have one name and the same values in the fields ``key``.

        Without a key, one event of each name waits. Events that have none of the fields wait as with :meth:`drop`. A
        client gets the remaining events in the order of publishing. ``key`` names fields as they are called on the wire.

        ``rate`` limits the events of each key for all subscribers, fast ones included: with ``"10/s"`` two events of one
        key are at least 100 ms apart, the newest replaces those between, and the last one always arrives, at most 200 ms
        late. Each process applies the limit to its own subscribers (:mod:`holdfast.streams.conflation`).
        """
        given: tuple[object, ...] = key
        for field in given:
            if not isinstance(field, str) or not field:
                raise TypeError(
                    f'Slow.conflate({field!r}): expected names of fields, such as Slow.conflate("symbol")'
                )
        return cls(SlowKind.CONFLATE, key, _checked("conflate", buffer_bytes), _checked_rate(rate))

    @classmethod
    def disconnect(cls, *given: Never, buffer_bytes: int = BUFFER_BYTES) -> Self:
        """Close the connection (4002, ``stalled``) when more would have to wait. The client reconnects and joins again."""
        return cls(SlowKind.DISCONNECT, (), _checked("disconnect", buffer_bytes, given))

    def key_of(self, event: Prepared) -> tuple[str, ...] | None:
        """Return the key under which the latest event replaces older ones; ``None`` for an event that replaces none."""
        if not self.key:
            return (event.name,)
        try:
            fields = _fields.decode(event.payload)
        except msgspec.MsgspecError:
            return None
        values = [bytes(fields[field]).decode() if field in fields else "" for field in self.key]
        return (event.name, *values) if any(values) else None


def _checked(method: str, buffer_bytes: object, given: tuple[object, ...] = ()) -> int:
    if given:
        raise TypeError(
            f"Slow.{method}({', '.join(map(shortened, given))}): it takes no value without a name; write for example "
            f"Slow.{method}(buffer_bytes={BUFFER_BYTES})"
        )
    if isinstance(buffer_bytes, bool) or not isinstance(buffer_bytes, int) or buffer_bytes < 1:
        raise ValueError(
            f"Slow.{method}(buffer_bytes={buffer_bytes!r}): expected a number of bytes, such as buffer_bytes={BUFFER_BYTES}"
        )
    return buffer_bytes


def _checked_rate(rate: str | Rate | None) -> Rate | None:
    if rate is None:
        return None
    try:
        parsed = rate if isinstance(rate, Rate) else Rate.parse(rate)
    except ValueError as error:
        raise ValueError(f"Slow.conflate(rate={rate!r}): {error}") from None
    if parsed.per_second > HIGHEST_RATE:
        raise ValueError(
            f"Slow.conflate(rate={str(rate)!r}): more than {HIGHEST_RATE} events of a key per second cannot be timed; write "
            f"at most rate='{HIGHEST_RATE}/s', or leave the rate out"
        )
    return parsed


class Backlog:
    """The events that wait for one subscription, in the order of publishing."""

    __slots__ = ("_bytes", "_counters", "_next", "_slow", "_waiting", "lost")

    def __init__(self, slow: Slow, counters: Counters) -> None:
        self._slow = slow
        self._counters = counters
        self._waiting: OrderedDict[object, Prepared] = OrderedDict()
        self._bytes = 0
        self._next = 0  # numbers are the keys of events that replace none
        self.lost = False
        """Was anything dropped?"""

    def add(self, event: Prepared) -> bool:
        """Let an event wait. Return ``False`` if the connection has to be closed instead."""
        key: object = event.form(self._slow.key_of) if self._slow.kind is SlowKind.CONFLATE else None
        if key is None:
            key, self._next = self._next, self._next + 1
        replaced = self._waiting.pop(key, None)
        if replaced is not None:
            self._bytes -= size_of(replaced)
            self._counters.events_conflated += 1
        self._waiting[key] = event  # at the end, so that the order stays that of publishing
        self._bytes += size_of(event)
        if self._bytes <= self._slow.buffer_bytes:
            return True
        if self._slow.kind is SlowKind.DISCONNECT:
            return False
        while self._bytes > self._slow.buffer_bytes:
            _, dropped = self._waiting.popitem(last=False)
            self._bytes -= size_of(dropped)
            self._counters.events_dropped += 1
            self.lost = True
        return True

    def take(self, size: int) -> Burst:
        """Remove and return the first events, up to about ``size`` bytes of them."""
        events: list[Prepared] = []
        while self._waiting and size > 0:
            _, event = self._waiting.popitem(last=False)
            self._bytes -= size_of(event)
            size -= size_of(event)
            events.append(event)
        return Burst(events)

    def __len__(self) -> int:
        return len(self._waiting)


def size_of(event: Prepared) -> int:
    """The bytes that a waiting event counts for."""
    return len(event.payload) + EVENT_BYTES
