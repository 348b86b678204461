"""Messages on their way out of a process.

Any thread puts messages in and never waits. They are carried by a few *lanes*, tasks that exist only while there is
something to carry, on the receiving event loop of this process or, if there is none, on the courier's. Messages of one
topic go one after the other; different topics go at the same time, because most layers need several round trips for a
message and would otherwise be bound by latency.

Nothing here is retried: a carrier that failed may have delivered, and an ephemeral message must not arrive twice.
What is lost is counted (:attr:`Mailbox.lost`) and, for durable topics, repaired from the log.
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from holdfast.process.fork import start_anew_after_fork
from holdfast.process.shutdown import flush_at_exit, wait_for

from .backoff import full_jitter
from .place import Place, set_aside

logger = logging.getLogger("holdfast.backplane")

Carry = Callable[[str, bytes], Awaitable[None]]
"""Brings one message to the other processes, or raises."""

WARN_SECONDS = 60.0
"""The least time between two warnings about messages that were dropped."""


class Mailbox:
    """A bounded queue per topic, and what empties them."""

    def __init__(
        self,
        carry: Carry,
        *,
        limit: int = 10_000,
        patience: float = 10.0,
        lanes: int = 8,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold at most ``limit`` messages; give one up that is not carried within ``patience`` seconds."""
        self._carry, self._limit, self._patience, self._most_lanes, self._now = (
            carry,
            limit,
            patience,
            lanes,
            now,
        )
        self.lost: Counter[str] = Counter()
        """How many messages were lost, and why: ``overflow``, ``expired``, ``failed``."""
        self._warned = -WARN_SECONDS
        self._place = Place()
        self._empty_out()
        start_anew_after_fork(self)
        flush_at_exit(self)

    def _empty_out(self) -> None:
        # Reentrant: a signal handler or a finalizer that publishes may interrupt a thread that holds it.
        self._lock = threading.RLock()
        self._queues: dict[str, deque[tuple[float, bytes]]] = {}
        self._ready: deque[str] = (
            deque()
        )  # the topics in _queues that no lane is carrying for, longest waiting first
        self._count = 0  # queued and being carried
        self._lanes = 0
        self._waking = False
        self._failures = 0  # in a row; an outage, if there are any
        self._idle = threading.Event()
        self._idle.set()

    def start_anew(self) -> None:
        self._place.loop = None
        self._empty_out()
        self.lost.clear()

    # ── putting in: any thread ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, topic: str, message: bytes) -> None:
        """Queue a message. When the mailbox is full the oldest one is given up for it."""
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
            self._warn_of_loss()
        if wake:
            self._wake()

    def _drop_oldest(self, topic: str) -> None:
        """Under the lock: give up the first message of the topic that has waited longest."""
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
        """In an outage one lane tries, so that one message at a time is lost by trying."""
        return 1 if self._failures else self._most_lanes

    # ── where it is carried ──────────────────────────────────────────────────────────────────────────────────────────

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Carry on ``loop`` from now on; ``None``: on the courier's."""
        self._place.loop = loop

    @property
    def bound(self) -> bool:
        return self._place.bound

    def _wake(self) -> None:
        if not self._place.call_soon(self._start_lanes, used_by=self._carry):
            self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            self.lost["failed"] += self._count
            self._empty_out()

    def _start_lanes(self) -> None:
        with self._lock:
            self._waking = False
            starting = min(len(self._ready), self._allowed_lanes() - self._lanes)
            self._lanes += max(0, starting)
        loop = asyncio.get_running_loop()
        for _ in range(starting):
            task = loop.create_task(self._lane())
            _running.add(task)
            task.add_done_callback(_running.discard)

    # ── carrying: on a loop ──────────────────────────────────────────────────────────────────────────────────────────

    async def _lane(self) -> None:
        while (news := self._next()) is not None:
            topic, message = news
            try:
                async with asyncio.timeout(self._patience):
                    await self._carry(topic, message)
            except asyncio.CancelledError:
                self._leave(topic)
                raise
            except Exception as error:  # noqa: BLE001 - whatever a layer raises
                self._failed(error)
                try:
                    await asyncio.sleep(full_jitter(self._failures))
                except asyncio.CancelledError:
                    self._leave(topic)
                    raise
            else:
                self._succeeded()
            self._release(topic)

    def _next(self) -> tuple[str, bytes] | None:
        """The next message, its topic taken out of the queue of topics; or None, and this lane is no more."""
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
        """The message that was taken for ``topic`` is carried, or lost: the next one may be taken."""
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

    def _leave(self, topic: str) -> None:
        """This lane was cancelled, because its loop is being shut down; the courier carries the rest."""
        with self._lock:
            self._lanes -= 1
            self._place.loop = None
            self.lost["failed"] += 1
        self._release(topic)

    def _failed(self, error: Exception) -> None:
        self.lost["failed"] += 1
        self._failures += 1
        if self._failures == 1:
            with set_aside():
                logger.warning(
                    "The backplane cannot send (%s: %s) and goes on trying.", type(error).__name__, error
                )

    def _succeeded(self) -> None:
        if self._failures:
            self._failures = 0
            with set_aside():
                logger.warning(
                    "The backplane sends again; it has lost %d messages since this process started.",
                    self.lost["failed"] + self.lost["expired"],
                )

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is queued or being carried, for at most ``timeout`` seconds; say whether it is so."""
        if self._place.stopped:
            self._move_to_courier()
        return wait_for(self._idle, timeout)

    def _move_to_courier(self) -> None:
        """The loop stopped running, and what was to wake up there never will."""
        with self._lock:
            self._place.loop = None
            self._waking = bool(self._ready)
            wake = self._waking
        if wake:
            self._wake()

    async def drained(self, timeout: float) -> bool:
        """As :meth:`flush`, on the loop that carries."""
        try:
            async with asyncio.timeout(timeout):
                while not self._idle.is_set():  # noqa: ASYNC110 - set from any thread; and only asked at the end
                    await asyncio.sleep(0.005)
        except TimeoutError:
            return False
        return True

    def _warn_of_loss(self) -> None:
        now = self._now()
        if now - self._warned >= WARN_SECONDS:
            self._warned = now
            logger.warning(
                "The backplane is sent more than it can carry: %d messages were dropped until now, oldest first.",
                self.lost["overflow"],
            )


_running: set[asyncio.Task[None]] = set()  # a loop alone holds its tasks only weakly
