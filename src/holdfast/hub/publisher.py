"""Publisher of one process: brings events into the log, to its hubs and to the other processes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from holdfast.backplane.base import Backplane
from holdfast.log.base import Batch, Draft, Log, LogError
from holdfast.log.transactions import when_committed
from holdfast.presence.base import Change
from holdfast.process.batcher import Batcher
from holdfast.process.loops import running_loop
from holdfast.threads.threads import Inline, Threads
from holdfast.threads.waiting_thread import in_waiting_thread

from . import messages
from .hub import Hub

logger = logging.getLogger("holdfast.publisher")

TOGETHER = 1000
"""Topics whose messages a hub takes in one turn of its loop. With more, everything else would wait too long."""


FLUSH_SECONDS = 0.5
"""Seconds that a publisher of many topics waits for the backplane to send the messages of the last ``TOGETHER``. If that
takes longer, the publisher stops waiting; messages that are then dropped are repaired from the log."""


class Publisher:
    """Publishes for one process; every method but :meth:`apublish` may be called from any thread.

    A durable event is safe in the log before any subscriber receives it. Delivery after that, to the hubs of this process
    and to the backplane, can fail without harm: the hubs compare themselves with the log.
    """

    def __init__(self, log: Log, backplane: Backplane, threads: Threads | Inline) -> None:
        self._log = log
        self._backplane = backplane
        self._threads = threads
        self._hubs: tuple[Hub, ...] = ()
        self._writers: dict[asyncio.AbstractEventLoop, GroupCommit] = {}

    def attach(self, hub: Hub) -> None:
        """Deliver everything that this process publishes to ``hub`` too, from now on."""
        self._hubs = (*self._hubs, hub)

    def detach(self, hub: Hub) -> None:
        self._hubs = tuple(other for other in self._hubs if other is not hub)
        self._writers.pop(hub.loop, None)

    def publish(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        """Publish now, or, inside a transaction, if and when it commits. On return durable events are safe."""
        if not drafts:
            return
        if not durable:
            self._when_committed(drafts)
        elif self._log.in_transaction():
            self._log.stage(drafts, self.broadcast)
        else:
            self.write(drafts)

    def write(self, drafts: Sequence[Draft]) -> None:
        """Publish durable events now, whatever transaction the caller is in. Blocks; on return they are safe."""
        self.broadcast(self._log.append(drafts))

    async def apublish(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        """As :meth:`publish`, from the event loop. It is part of a transaction only if a thread waits for this code in
        ``async_to_sync`` and has one open. Otherwise durable events of calls that run at the same time share one
        transaction of the log (group commit)."""
        if drafts:
            await in_waiting_thread(
                partial(self.publish, drafts, durable=durable),
                partial(self.apublish_alone, drafts, durable=durable),
            )

    async def apublish_alone(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        """As :meth:`apublish`; never part of a transaction."""
        if not durable:
            self._broadcast_ephemeral(drafts)
        elif not self._log.blocking:
            self.broadcast(self._log.append(drafts))
        else:
            await self._writer().write(drafts)

    def broadcast(self, batches: Sequence[Batch]) -> None:
        """Deliver entries that are in the log to all hubs, here and in other processes."""
        self._deliver([(batch.topic, batch) for batch in batches if not batch.announced])
        self._deliver([(batch.topic, batch) for batch in batches if batch.announced], abroad=False)

    def broadcast_presence(self, topic: str, change: Change) -> None:
        """Deliver a change of a topic's members that no hub made to all hubs, here and in other processes."""
        if change.mark != change.before:
            self._deliver([(topic, change)])

    def _when_committed(self, drafts: Sequence[Draft]) -> None:
        when_committed(partial(self._broadcast_ephemeral, drafts), self._log.alias)

    def _broadcast_ephemeral(self, drafts: Sequence[Draft]) -> None:
        topics: dict[str, list[Draft]] = {}
        for draft in drafts:
            topics.setdefault(draft.topic, []).append(draft)
        self._deliver(list(topics.items()))

    def _deliver(self, items: Sequence[tuple[str, messages.Delivery]], *, abroad: bool = True) -> None:
        """Deliver to the hubs and, if ``abroad``, to the other processes: ``TOGETHER`` topics in one turn of a hub's loop
        and in one call of the backplane.

        Never raises: to the publisher, an error would mean that the events are not in the log.
        """
        may_wait = True
        for start in range(0, len(items), TOGETHER):
            some = items[start : start + TOGETHER]
            try:
                for hub in self._hubs:
                    hub.deliver(some)
                if abroad and self._backplane.shared:
                    # A backplane queues some thousand messages, and drops what is too much.
                    if start and may_wait:
                        may_wait = running_loop() is None and self._backplane.flush(FLUSH_SECONDS)
                    self._backplane.send_many([(topic, messages.encode(item)) for topic, item in some])
            except Exception:
                logger.exception(
                    "failed to deliver messages of topic %r%s; hubs that missed them will read them from the log",
                    some[0][0],
                    f" and {len(some) - 1} more" if len(some) > 1 else "",
                )

    def _writer(self) -> "GroupCommit":
        loop = asyncio.get_running_loop()
        writer = self._writers.get(loop)
        if writer is None:
            self._writers = {other: w for other, w in self._writers.items() if not other.is_closed()}
            writer = self._writers[loop] = GroupCommit(self._log, self._threads, self.broadcast)
        return writer


class GroupCommit:
    """Writes the events published on one event loop: while one transaction runs, the next one gathers.

    If a shared transaction is refused, each of its parts is tried alone, so that no caller fails because of another. If
    the connection to the log broke, nothing is tried again, since the transaction may have been committed.
    """

    def __init__(
        self, log: Log, threads: Threads | Inline, broadcast: Callable[[Sequence[Batch]], None]
    ) -> None:
        self._log = log
        self._threads = threads
        self._broadcast = broadcast
        self._loop = asyncio.get_running_loop()
        self._batches: Batcher[PendingWrite] = Batcher(self._write_group, spawn=self._loop.create_task)

    async def write(self, drafts: Sequence[Draft]) -> None:
        """Return when the drafts are durable and their delivery has begun. Cancelling the caller does not undo it."""
        write = PendingWrite(drafts, self._loop.create_future())
        self._batches.add(write)
        await write.done

    async def _write_group(self, group: "list[PendingWrite]") -> None:
        together = [draft for write in group for draft in write.drafts]
        try:
            batches = await self._threads.run(self._log.append, together)
        except Exception as error:  # noqa: BLE001 - each publisher gets it
            if len(group) > 1 and not isinstance(error, LogError):
                for write in group:
                    await self._write_group([write])
                return
            for write in group:
                if not write.done.done():
                    write.done.set_exception(error)
            return
        self._broadcast(batches)
        for write in group:
            if not write.done.done():
                write.done.set_result(None)


class PendingWrite:
    """Drafts that one caller publishes, and the future on which the caller waits."""

    __slots__ = ("done", "drafts")

    def __init__(self, drafts: Sequence[Draft], done: "asyncio.Future[None]") -> None:
        self.drafts = drafts
        self.done = done
