"""Publisher of one process's messages to Redis.

A single task, which exists only while there is something to send, takes all waiting messages, sends them in one round
trip, and repeats with those that arrived in that time. Each event loop has its own connections, one to each node.

No message is sent twice: one that went out without an answer counts as lost, since an ephemeral message must not arrive
again. Messages that could not go out at all wait until Redis is back, within the bounds of the :class:`~.message_buffer.MessageBuffer`.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from holdfast.redis.client import RedisStore

from .backoff import full_jitter
from .envelope import SENDER_BYTES, join
from .loop_binding import set_aside
from .message_buffer import MessageBuffer, OutgoingBatch
from .pipelined_connection import PublishConnections
from .redis_connection import Reply, pack
from .send_queue import SendQueue
from .tasks import end

logger = logging.getLogger("holdfast.backplane")


class RedisPublisher(SendQueue):
    """Sends for one process. ``channel_of`` gives a topic's channel.

    A connection that was not used for ``pulse`` seconds is tried before it is trusted. Redis has ``patience`` seconds for
    an answer.
    """

    def __init__(
        self,
        store: RedisStore,
        channel_of: Callable[[str], bytes],
        *,
        pulse: float,
        patience: float,
        buffer: MessageBuffer | None = None,
    ) -> None:
        self._store, self._channel_of, self._pulse, self._patience = store, channel_of, pulse, patience
        self.buffer = MessageBuffer() if buffer is None else buffer
        self._inherited: list[object] = []
        super().__init__(lost=self.buffer.lost)

    def _begin(self) -> None:
        super()._begin()
        self.id = secrets.token_bytes(SENDER_BYTES)
        self._running = False  # the task is there, or about to be
        self._task: asyncio.Task[None] | None = None
        self._connections: PublishConnections | None = None

    def reset_in_child(self) -> None:
        # Nothing of the parent's is closed or collected here: it shares its sockets and its epoll with the parent.
        self._inherited += [self._task, self._connections]
        self.buffer.reset_in_child()
        super().reset_in_child()

    # ── putting in: any thread ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Queue messages, each with its topic. When there is no room the oldest ones are dropped for them."""
        dropped = self.buffer.put_many(messages)
        self._ensure_running()
        if dropped:
            self._overflowed()

    def _ensure_running(self) -> None:
        with self._lock:
            self._idle.clear()
            wake, self._running = not self._running, True
        if wake:
            self._wake()

    def _give_up(self) -> None:
        self.buffer.give_up_all()
        self._idle.set()

    # ── sending: on a loop ───────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            connections = self._connections_here()
            while not self._is_done():
                try:
                    await self._round(connections)
                except Exception as error:
                    with set_aside():
                        logger.exception("The backplane failed to send messages; they are lost")
                    await self._pause_after(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:  # the loop is shutting down; the background loop sends the rest
            self._leave_loop()
            raise

    def _is_done(self) -> bool:
        with self._lock:
            if not self.buffer.empty:
                return False
            self._running = False
            self._idle.set()
            return True

    def _leave_loop(self) -> None:
        with self._lock:
            self.binding.loop = None
            self._running = False
        if not self.buffer.empty:
            self._ensure_running()
        else:
            self._idle.set()

    def _connections_here(self) -> PublishConnections:
        connections, loop = self._connections, asyncio.get_running_loop()
        if connections is None or connections.loop is not loop:
            if connections is not None and connections.loop.is_running():
                asyncio.run_coroutine_threadsafe(connections.close(), connections.loop)
            elif connections is not None:
                self._inherited.append(connections)  # its loop has ended, so it cannot be closed
            connections = self._connections = PublishConnections(
                self._store, pulse=self._pulse, patience=self._patience
            )
        return connections

    async def _round(self, connections: PublishConnections) -> None:
        """Send one round of the waiting messages."""
        batches = self.buffer.take()
        if not batches:
            return
        try:
            if not connections.nodes.known:
                await connections.nodes.learn()
            groups: dict[str, list[OutgoingBatch]] = {}
            for batch in batches:
                node = connections.nodes.node_of(self._channel_of(batch.topic))
                groups.setdefault(node, []).append(batch)
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises
            self.buffer.give_back(batches)
            await self._pause_after(f"{type(error).__name__}: {error}")
            return
        reasons = await asyncio.gather(
            *[self._send(connections, node, group) for node, group in groups.items()]
        )
        if reason := next(filter(None, reasons), ""):
            connections.nodes.doubt()
            await self._pause_after(reason)
        else:
            self._succeeded()

    async def _send(self, connections: PublishConnections, node: str, batches: list[OutgoingBatch]) -> str:
        """Send ``batches`` to ``node``. Return the reason if that failed, or ``""``."""
        try:
            pipe = await connections.pipe(node)
        except asyncio.CancelledError:
            self.buffer.give_back(batches)
            raise
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises
            self.buffer.give_back(batches)
            return f"{type(error).__name__}: {error}"
        commands = [self._command(connections.nodes.publish, batch) for batch in batches]
        try:
            answers = await pipe.ask(commands, patience=self._patience)
        except asyncio.CancelledError:
            self.buffer.failed(batches)
            raise
        refused = next((str(answer) for answer in answers if isinstance(answer, Exception)), "")
        if refused or len(answers) < len(batches):
            self._sort_out(batches, answers)
        return refused if len(answers) == len(batches) else "the connection broke"

    def _sort_out(self, batches: Sequence[OutgoingBatch], answers: Sequence[Reply]) -> None:
        """Send refused batches again, except those whose topic may already have sent a later one; these are lost."""
        again: list[OutgoingBatch] = []
        lost = list(batches[len(answers) :])
        overtaken = {batch.topic for batch in lost}
        for batch, answer in reversed(list(zip(batches, answers, strict=False))):
            if not isinstance(answer, Exception):
                overtaken.add(batch.topic)
            elif batch.topic in overtaken:
                lost.append(batch)
            else:
                again.append(batch)
        self.buffer.give_back(again[::-1])
        self.buffer.failed(lost)

    def _command(self, publish: bytes, batch: OutgoingBatch) -> bytes:
        envelope = join(self.id, [waiting.message for waiting in batch.content], gap=batch.gap)
        return pack(publish, self._channel_of(batch.topic), envelope)

    async def _pause_after(self, reason: str) -> None:
        self._failed(reason)
        await asyncio.sleep(full_jitter(self._failures))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def leave(self, timeout: float) -> None:
        """Stop using the running event loop, once all is sent or after ``timeout`` seconds. Sending stays possible."""
        await self.drained(timeout)
        loop, task, connections = asyncio.get_running_loop(), self._task, self._connections
        self.binding.loop = None
        if task is not None and not task.done() and task.get_loop() is loop:
            await end([task])
        if connections is not None and connections.loop is loop:
            if self._connections is connections:
                self._connections = None
            await connections.close()
