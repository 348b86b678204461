"""Queue of outgoing messages for a Channels layer, which takes one message at a time.

A few *lanes* carry the messages: tasks that exist only while there is something to carry. Messages of one topic go one
after the other. Different topics go at the same time, because most layers need several round trips for a message and
would otherwise be bound by latency.

No message is retried: a layer that failed may have delivered it, and an ephemeral message must not arrive twice.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from .backoff import full_jitter
from .send_queue import SendQueue

Carry = Callable[[str, bytes], Awaitable[None]]
"""Sends one message to the other processes, or raises."""


class TopicQueues(SendQueue):
    """A bounded queue per topic, and the lanes that empty them."""

    def __init__(
        self,
        carry: Carry,
        *,
        limit: int = 10_000,
        patience: float = 10.0,
        lanes: int = 8,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold at most ``limit`` messages; drop one that is not carried within ``patience`` seconds."""
        self._carry, self._limit, self._patience, self._most_lanes = carry, limit, patience, lanes
        super().__init__(now=now)

    def _begin(self) -> None:
        super()._begin()
        self._queues: dict[str, deque[tuple[float, bytes]]] = {}
        # The topics in _queues that no lane is carrying for, longest waiting first.
        self._ready: deque[str] = deque()
        self._count = 0  # queued and being carried
        self._lanes = 0
        self._waking = False

    # ── putting in: any thread ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, topic: str, message: bytes) -> None:
        """Queue a message. When the queue is full, the oldest message is dropped for it."""
        with self._lock:
            overflow = self._count >= self._limit
            if overflow:
                self._drop_oldest(topic)
            queue = self._queues.get(topic)
            if queue is None:
                queue = self._queues[topic] = deque()
                self._ready.append(topic)
            queue.append((self._now(), message))
            self._count += 1
            self._idle.clear()
            wake = self._wants_lanes()
            self._waking = self._waking or wake
        if overflow:
            self._overflowed()
        if wake:
            self._wake()

    def _drop_oldest(self, topic: str) -> None:
        """Under the lock: drop the first message of the topic that has waited longest."""
        if self._ready:
            oldest = self._ready[0]
        else:  # all are being carried for: at most as many as there are lanes
            oldest = next((name for name, queue in self._queues.items() if queue), topic)
        queue = self._queues.get(oldest)
        if not queue:
            return
        queue.popleft()
        self._count -= 1
        self.lost["overflow"] += 1
        if not queue and self._ready and self._ready[0] == oldest:
            self._ready.popleft()
            del self._queues[oldest]

    def _wants_lanes(self) -> bool:
        return bool(self._ready) and not self._waking and self._lanes < self._allowed_lanes()

    def _allowed_lanes(self) -> int:
        """Return 1 in an outage, so that each attempt loses only one message."""
        return 1 if self._failures else self._most_lanes

    # ── carrying: on a loop ──────────────────────────────────────────────────────────────────────────────────────────

    def _give_up(self) -> None:
        with self._lock:
            self.lost["failed"] += self._count
            self._begin()

    def _start(self) -> None:
        with self._lock:
            self._waking = False
            starting = min(len(self._ready), self._allowed_lanes() - self._lanes)
            self._lanes += max(0, starting)
        loop = asyncio.get_running_loop()
        for _ in range(starting):
            task = loop.create_task(self._lane())
            _running.add(task)
            task.add_done_callback(_running.discard)

    async def _lane(self) -> None:
        while (taken := self._next()) is not None:
            topic, message = taken
            try:
                async with asyncio.timeout(self._patience):
                    await self._carry(topic, message)
            except asyncio.CancelledError:
                self._abandon(topic)
                raise
            except Exception as error:  # noqa: BLE001 - whatever a layer raises
                self.lost["failed"] += 1
                self._failed(f"{type(error).__name__}: {error}")
                try:
                    await asyncio.sleep(full_jitter(self._failures))
                except asyncio.CancelledError:
                    self._abandon(topic)
                    raise
            else:
                self._succeeded()
            self._release(topic)

    def _next(self) -> tuple[str, bytes] | None:
        """Return the next message and take its topic out of ``_ready``; or return ``None`` and end this lane."""
        with self._lock:
            oldest = self._now() - self._patience
            while self._ready and self._lanes <= self._allowed_lanes():
                topic = self._ready.popleft()
                queue = self._queues[topic]
                while queue:
                    since, message = queue.popleft()
                    if since >= oldest:
                        return topic, message
                    self._count -= 1
                    self.lost["expired"] += 1
                del self._queues[topic]
            self._lanes -= 1
            if self._count == 0:
                self._idle.set()
            return None

    def _release(self, topic: str) -> None:
        """The message that was taken for ``topic`` was carried or lost: the next one may be taken."""
        with self._lock:
            self._count -= 1
            if self._queues[topic]:
                self._ready.append(topic)
            else:
                del self._queues[topic]
            if self._count == 0:
                self._idle.set()
            wake = self._wants_lanes()
            self._waking = self._waking or wake
        if wake:
            self._wake()

    def _abandon(self, topic: str) -> None:
        """This lane was cancelled, because its loop is shutting down. The background loop carries the rest."""
        with self._lock:
            self._lanes -= 1
            self.binding.loop = None
            self.lost["failed"] += 1
        self._release(topic)

    def _leave_loop(self) -> None:
        with self._lock:
            self.binding.loop = None
            self._waking = bool(self._ready)
            wake = self._waking
        if wake:
            self._wake()


_running: set[asyncio.Task[None]] = set()  # a loop alone holds its tasks only weakly
