"""Buffer of the messages that wait for Redis, of all topics, in the order in which they were put in.

Any thread puts messages in and takes them. The buffer is bounded in messages and in bytes; beyond that the oldest messages
are dropped, and so are those that have waited too long. It remembers which topics lost messages, so that the next envelope
can tell their subscribers (``GAP``).
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
"""Most that is taken at once; a single larger message is taken alone."""

JOINED_BYTES = 64_000
"""Most bytes of one topic in one envelope; a single larger message goes alone."""

GAPS = 10_000
"""Most topics that are remembered as having lost messages."""


class QueuedMessage(NamedTuple):
    """One message, and when it was put in."""

    since: float
    topic: str
    message: bytes


@dataclass(slots=True, kw_only=True)
class OutgoingBatch:
    """Messages of one topic that become one envelope. ``gap``: messages before them were lost."""

    topic: str
    gap: bool
    content: list[QueuedMessage] = field(default_factory=list)
    size: int = 0


class MessageBuffer:
    """Holds at most ``messages`` messages and ``size`` bytes, each for at most ``patience`` seconds."""

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
        """Number of lost messages by reason: ``overflow``, ``expired``, ``failed``."""
        self.reset_in_child()

    def reset_in_child(self) -> None:
        """Forget all messages, and the locks: in a forked child, the parent sends what is in here."""
        # Reentrant: a signal handler or a finalizer that publishes may interrupt a thread that holds it.
        self._lock = threading.RLock()
        self._waiting: deque[QueuedMessage] = deque()
        self._bytes = 0
        self._gaps: set[str] = set()
        self.lost.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, topic: str, message: bytes) -> bool:
        """Put a message in; when there is no room, drop the oldest ones. Return whether any were dropped."""
        return self.put_many([(topic, message)])

    def put_many(self, messages: Sequence[tuple[str, bytes]]) -> bool:
        """As :meth:`put`, for messages of many topics, each with its topic."""
        with self._lock:
            now = self._now()
            for topic, message in messages:
                self._waiting.append(QueuedMessage(now, topic, message))
                self._bytes += len(message)
            return self._make_room()

    def take(self) -> list[OutgoingBatch]:
        """Take the messages that go next, in order for each topic; drop those that have waited too long."""
        with self._lock:
            self._expire()
            batches: dict[str, OutgoingBatch] = {}
            full: list[OutgoingBatch] = []
            size = count = 0
            while self._waiting and count < BATCH_MESSAGES:
                length = len(self._waiting[0].message)
                if count and size + length > BATCH_BYTES:
                    break
                waiting = self._waiting.popleft()
                self._bytes -= length
                batch = batches.get(waiting.topic)
                if batch is None or (batch.content and batch.size + length > JOINED_BYTES):
                    batch = batches[waiting.topic] = self._batch(waiting.topic)
                    full.append(batch)
                batch.content.append(waiting)
                batch.size += length
                size += length
                count += 1
            if not full:
                full = [self._batch(topic) for topic in list(self._gaps)[:BATCH_MESSAGES]]
            return full

    def give_back(self, batches: Sequence[OutgoingBatch]) -> None:
        """Put batches back that were certainly not sent: they go next."""
        with self._lock:
            for batch in batches:
                if batch.gap:
                    self._gap(batch.topic)
            content = [waiting for batch in batches for waiting in batch.content]
            self._waiting.extendleft(reversed(content))
            self._bytes += sum(len(waiting.message) for waiting in content)
            self._make_room()

    def failed(self, batches: Iterable[OutgoingBatch]) -> None:
        """Count batches as lost that may have been sent or not: no message may arrive twice."""
        with self._lock:
            for batch in batches:
                self.lost["failed"] += len(batch.content)
                self._gap(batch.topic)

    def give_up_all(self) -> None:
        """Drop all messages: nothing can be sent any more."""
        with self._lock:
            self.lost["failed"] += len(self._waiting)
            self._waiting.clear()
            self._gaps.clear()
            self._bytes = 0

    @property
    def empty(self) -> bool:
        """Is there no message to send, and no loss to report?"""
        return not self._waiting and not self._gaps

    def _batch(self, topic: str) -> OutgoingBatch:
        gap = topic in self._gaps
        self._gaps.discard(topic)
        return OutgoingBatch(topic=topic, gap=gap)

    def _make_room(self) -> bool:
        before = len(self._waiting)
        while len(self._waiting) > self._most or (self._bytes > self._most_bytes and len(self._waiting) > 1):
            self._give_up(self._waiting.popleft(), "overflow")
        return len(self._waiting) < before

    def _expire(self) -> None:
        oldest = self._now() - self._patience
        while self._waiting and self._waiting[0].since < oldest:
            self._give_up(self._waiting.popleft(), "expired")

    def _give_up(self, waiting: QueuedMessage, reason: str) -> None:
        self._bytes -= len(waiting.message)
        self.lost[reason] += 1
        self._gap(waiting.topic)

    def _gap(self, topic: str) -> None:
        if len(self._gaps) < GAPS:
            self._gaps.add(topic)
