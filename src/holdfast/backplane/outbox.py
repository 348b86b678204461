"""Messages on their way to Redis, of all topics, in the order in which they were put in. Any thread puts in and takes.

It is bounded, in messages and in bytes: beyond that the oldest are given up, and so are those that have waited too long.
Which topics lost something is remembered, so that their subscribers can be told with the next envelope (``GAP``).
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MESSAGES = 10_000
BYTES = 32_000_000
PATIENCE = 10.0

BATCH_MESSAGES = 2_000
BATCH_BYTES = 1_000_000
"""How much is taken out at once, at most (but for one message that is larger)."""

JOINED_BYTES = 64_000
"""How much of one topic goes into one envelope, at most (but for one message that is larger)."""

GAPS = 10_000
"""Of how many topics it is remembered that they lost something."""


class Waiting(NamedTuple):
    """One message."""

    since: float
    topic: str
    message: bytes


@dataclass(slots=True, kw_only=True)
class Parcel:
    """What becomes one envelope: messages of one topic."""

    topic: str
    gap: bool
    content: list[Waiting] = field(default_factory=list)
    size: int = 0


class Outbox:
    """At most ``messages`` and ``size`` bytes, each for at most ``patience`` seconds."""

    def __init__(
        self,
        *,
        messages: int = MESSAGES,
        size: int = BYTES,
        patience: float = PATIENCE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._most_bytes, self._patience, self._now = messages, size, patience, now
        self.lost: Counter[str] = Counter()
        """How many messages were lost, and why: ``overflow``, ``expired``, ``failed``."""
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything, the locks too: in a forked child the parent sends what is in here."""
        # Reentrant: a signal handler or a finalizer that publishes may interrupt a thread that holds it.
        self._lock = threading.RLock()
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._gaps: set[str] = set()
        self.lost.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, topic: str, message: bytes) -> bool:
        """Put a message in, giving up the oldest ones for it when there is no room. Says whether any were."""
        return self.put_many([(topic, message)])

    def put_many(self, messages: Sequence[tuple[str, bytes]]) -> bool:
        """As :meth:`put`, for messages of many topics, each with its topic."""
        with self._lock:
            now = self._now()
            for topic, message in messages:
                self._waiting.append(Waiting(now, topic, message))
                self._bytes += len(message)
            return self._make_room()

    def take(self) -> list[Parcel]:
        """Take out what goes next, in order for each topic; what has waited too long is given up."""
        with self._lock:
            self._expire()
            parcels: dict[str, Parcel] = {}
            full: list[Parcel] = []
            size = count = 0
            while self._waiting and count < BATCH_MESSAGES:
                length = len(self._waiting[0].message)
                if count and size + length > BATCH_BYTES:
                    break
                waiting = self._waiting.popleft()
                self._bytes -= length
                parcel = parcels.get(waiting.topic)
                if parcel is None or (parcel.content and parcel.size + length > JOINED_BYTES):
                    parcel = parcels[waiting.topic] = self._parcel(waiting.topic)
                    full.append(parcel)
                parcel.content.append(waiting)
                parcel.size += length
                size += length
                count += 1
            if not full:
                full = [self._parcel(topic) for topic in list(self._gaps)[:BATCH_MESSAGES]]
            return full

    def give_back(self, parcels: Sequence[Parcel]) -> None:
        """These were certainly not sent: they are next again."""
        with self._lock:
            for parcel in parcels:
                if parcel.gap:
                    self._gap(parcel.topic)
            content = [waiting for parcel in parcels for waiting in parcel.content]
            self._waiting.extendleft(reversed(content))
            self._bytes += sum(len(waiting.message) for waiting in content)
            self._make_room()

    def failed(self, parcels: Iterable[Parcel]) -> None:
        """These may have been sent, or not: they are lost, since nothing may arrive twice."""
        with self._lock:
            for parcel in parcels:
                self.lost["failed"] += len(parcel.content)
                self._gap(parcel.topic)

    def give_up_all(self) -> None:
        """Nothing can be sent any more."""
        with self._lock:
            self.lost["failed"] += len(self._waiting)
            self._waiting.clear()
            self._gaps.clear()
            self._bytes = 0

    @property
    def empty(self) -> bool:
        """Is there nothing to send, and nobody to be told of something lost?"""
        return not self._waiting and not self._gaps

    def _parcel(self, topic: str) -> Parcel:
        gap = topic in self._gaps
        self._gaps.discard(topic)
        return Parcel(topic=topic, gap=gap)

    def _make_room(self) -> bool:
        before = len(self._waiting)
        while len(self._waiting) > self._most or (self._bytes > self._most_bytes and len(self._waiting) > 1):
            self._give_up(self._waiting.popleft(), "overflow")
        return len(self._waiting) < before

    def _expire(self) -> None:
        oldest = self._now() - self._patience
        while self._waiting and self._waiting[0].since < oldest:
            self._give_up(self._waiting.popleft(), "expired")

    def _give_up(self, waiting: Waiting, reason: str) -> None:
        self._bytes -= len(waiting.message)
        self.lost[reason] += 1
        self._gap(waiting.topic)

    def _gap(self, topic: str) -> None:
        if len(self._gaps) < GAPS:
            self._gaps.add(topic)
