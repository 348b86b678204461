"""What becomes of events that are in no log while a client does not read: dropped, conflated, or the end of it.

Events of a durable topic need none of this: a client that falls behind there is served from the log.
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
"""What an event that waits costs besides its payload, give or take."""

HIGHEST_RATE = 100
"""Events of a key per second. A timer of an event loop is about a millisecond off, and screens show less."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Kind(enum.Enum):
    DROP = "drop"
    LATEST = "latest"
    DISCONNECT = "disconnect"


class Slow(msgspec.Struct, metaclass=Explained, frozen=True):
    """What a topic that stores nothing does about a client that does not read as fast as events come::

        class Ticker(Topic):
            slow = Slow.latest("symbol")

    Made by :meth:`drop`, :meth:`latest` or :meth:`disconnect`. Each lets at most ``buffer_bytes`` of events (64 KiB, if
    nothing else is said) wait for one client and one topic, beyond the connection's own write buffer.
    """

    __example__: ClassVar[str] = 'Slow.drop(), Slow.latest("symbol") or Slow.disconnect()'

    kind: Kind
    key: tuple[str, ...] = ()
    buffer_bytes: int = BUFFER_BYTES
    rate: Rate | None = None

    @property
    def conflates(self) -> bool:
        """May a newer event take the place of an older one?"""
        return self.kind is Kind.LATEST

    def __post_init__(self) -> None:
        if not isinstance(self.kind, Kind):
            raise TypeError(
                f"Slow({self.kind!r}): a Slow is made by one of its methods; write {self.__example__}"
            )

    @classmethod
    def drop(cls, *given: Never, buffer_bytes: int = BUFFER_BYTES) -> Self:
        """The newest events wait; older ones are dropped, and the client is told (``reset``: ``interrupted``)."""
        return cls(Kind.DROP, (), _checked("drop", buffer_bytes, given))

    @classmethod
    def latest(cls, *key: str, rate: str | Rate | None = None, buffer_bytes: int = BUFFER_BYTES) -> Self:
        """Of all events of one name whose fields ``key`` are the same only the latest waits.

        Without a key that is one event of each name. Events that have none of the fields wait as with :meth:`drop`. A
        client reads what is left in the order of publishing. ``key`` are fields as they are called on the wire.

        ``rate`` limits the events of each key for all subscribers, also for those that read: with ``"10/s"`` two events of one
        key are at least 100 ms apart, the newest replaces those between, and the last one always arrives, at most 200 ms
        late. Each process limits what its own subscribers get (:mod:`holdfast.hub.conflation`).
        """
        given: tuple[object, ...] = key
        for field in given:
            if not isinstance(field, str) or not field:
                raise TypeError(
                    f'Slow.latest({field!r}): expected names of fields, such as Slow.latest("symbol")'
                )
        return cls(Kind.LATEST, key, _checked("latest", buffer_bytes), _checked_rate(rate))

    @classmethod
    def disconnect(cls, *given: Never, buffer_bytes: int = BUFFER_BYTES) -> Self:
        """The connection is closed (4002, ``stalled``) when more would have to wait; the client comes back and joins anew."""
        return cls(Kind.DISCONNECT, (), _checked("disconnect", buffer_bytes, given))

    def key_of(self, event: Prepared) -> tuple[str, ...] | None:
        """What the latest event takes the place by; ``None`` for an event that never takes another's place."""
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
        raise ValueError(f"Slow.latest(rate={rate!r}): {error}") from None
    if parsed.per_second > HIGHEST_RATE:
        raise ValueError(
            f"Slow.latest(rate={str(rate)!r}): more than {HIGHEST_RATE} events of a key per second cannot be timed; write "
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
        self._next = 0  # numbers are the keys of events that never take another's place
        self.lost = False
        """Was anything dropped?"""

    def add(self, event: Prepared) -> bool:
        """Let an event wait. ``False`` says that the topic wants the connection ended instead."""
        key: object = event.form(self._slow.key_of) if self._slow.kind is Kind.LATEST else None
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
        if self._slow.kind is Kind.DISCONNECT:
            return False
        while self._bytes > self._slow.buffer_bytes:
            _, dropped = self._waiting.popitem(last=False)
            self._bytes -= size_of(dropped)
            self._counters.events_dropped += 1
            self.lost = True
        return True

    def take(self, size: int) -> Burst:
        """Take out the first events, up to about ``size`` bytes of them."""
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
    """The bytes that an event counts with while it waits."""
    return len(event.payload) + EVENT_BYTES
