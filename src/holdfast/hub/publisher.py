"""The way of an event into the log and out to everybody, from wherever it is published."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from holdfast.backplane.base import Backplane
from holdfast.log.base import Batch, Draft, Log, LogError
from holdfast.log.transactions import when_committed
from holdfast.presence.base import Change

from . import news
from .hub import Hub
from .threads import Inline, Threads
from .waiting import in_waiting_thread

logger = logging.getLogger("holdfast.publisher")

TOGETHER = 1000
"""Topics whose news a hub takes in one turn of its loop: with more, everything else would wait too long."""


FLUSH_SECONDS = 0.5
"""How long a publisher of many topics waits for the backplane to take in the news of the last ``TOGETHER``. If it takes longer,
the publisher stops waiting: what is dropped then, the log repairs."""


class Publisher:
    """Publishes for one process; every method but :meth:`apublish` may be called from any thread.

    A durable event is safe in the log before anybody hears of it. What happens after that (telling the hubs of this
    process, and the backplane) can fail without harm: the hubs compare with the log.
    """

    def __init__(self, log: Log, backplane: Backplane, threads: Threads | Inline, *, origin: str) -> None:
        self._log = log
        self._backplane = backplane
        self._threads = threads
        self._origin = origin
        self._hubs: tuple[Hub, ...] = ()
        self._writers: dict[asyncio.AbstractEventLoop, GroupCommit] = {}

    def attach(self, hub: Hub) -> None:
        """From now on the hub hears of everything that this process publishes."""
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
            self._log.stage(drafts, self.spread)
        else:
            self.write(drafts)

    def write(self, drafts: Sequence[Draft]) -> None:
        """Publish durable events now, whatever transaction the caller is in. Blocks; on return they are safe."""
        self.spread(self._log.append(drafts))

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
            self._pass(drafts)
        elif not self._log.blocking:
            self.spread(self._log.append(drafts))
        else:
            await self._writer().write(drafts)

    def spread(self, batches: Sequence[Batch]) -> None:
        """Tell everybody of entries that are in the log."""
        origin = self._origin
        self._tell([(b.topic, news.Numbered.of(b, origin)) for b in batches if not b.announced])
        self._tell([(b.topic, news.Numbered.of(b, origin)) for b in batches if b.announced], abroad=False)

    def spread_presence(self, topic: str, change: Change) -> None:
        """Tell everybody of a change of who is here that was not made by a hub."""
        if change.mark != change.before:
            self._tell([(topic, news.Present.of(change, self._origin))])

    def _when_committed(self, drafts: Sequence[Draft]) -> None:
        when_committed(partial(self._pass, drafts), self._log.alias)

    def _pass(self, drafts: Sequence[Draft]) -> None:
        topics: dict[str, list[Draft]] = {}
        for draft in drafts:
            topics.setdefault(draft.topic, []).append(draft)
        self._tell([(topic, news.Passing.of(own, self._origin)) for topic, own in topics.items()])

    def _tell(self, items: Sequence[tuple[str, news.News]], *, abroad: bool = True) -> None:
        """Tell the hubs and, if ``abroad``, the other processes: ``TOGETHER`` topics in one turn of a hub's loop and in one
        call of the backplane.

        Never raises: to whoever published, an error would mean that the events are not in the log.
        """
        may_wait = True
        for start in range(0, len(items), TOGETHER):
            some = items[start : start + TOGETHER]
            try:
                for hub in self._hubs:
                    hub.deliver(some)
                if abroad and self._backplane.shared:
                    if (
                        start and may_wait
                    ):  # a backplane queues some thousand messages, and drops what is too much
                        may_wait = not running_loop() and self._backplane.flush(FLUSH_SECONDS)
                    self._backplane.send_many([(topic, news.encode(item)) for topic, item in some])
            except Exception:
                logger.exception(
                    "news of topic %r%s did not reach everybody; a comparison with the log will",
                    some[0][0],
                    f" and {len(some) - 1} more" if len(some) > 1 else "",
                )

    def _writer(self) -> "GroupCommit":
        loop = asyncio.get_running_loop()
        writer = self._writers.get(loop)
        if writer is None:
            self._writers = {other: w for other, w in self._writers.items() if not other.is_closed()}
            writer = self._writers[loop] = GroupCommit(self._log, self._threads, self.spread)
        return writer


def running_loop() -> bool:
    """Does the calling thread run an event loop, which must not wait?"""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class GroupCommit:
    """Writes what is published on one event loop: while one transaction runs, the next gathers.

    If a shared transaction is refused each of its parts is tried alone, so that nobody fails for another's sake; if
    the log was lost on the way nothing is tried again, since the transaction may have been carried out.
    """

    def __init__(
        self, log: Log, threads: Threads | Inline, spread: Callable[[Sequence[Batch]], None]
    ) -> None:
        self._log = log
        self._threads = threads
        self._spread = spread
        self._gathered: list[tuple[Sequence[Draft], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, drafts: Sequence[Draft]) -> None:
        """Return when the drafts are durable and everybody is being told. Cancelling the caller does not undo it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._gathered.append((drafts, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        await done

    async def _write_all(self) -> None:
        try:
            while self._gathered:
                group, self._gathered = self._gathered, []
                await self._write_group(group)
        finally:
            self._writing = None

    async def _write_group(self, group: list[tuple[Sequence[Draft], asyncio.Future[None]]]) -> None:
        together = [draft for drafts, _ in group for draft in drafts]
        try:
            batches = await self._threads.run(self._log.append, together)
        except Exception as error:  # noqa: BLE001 - it is handed to whoever published
            if len(group) > 1 and not isinstance(error, LogError):
                for part in group:
                    await self._write_group([part])
                return
            for _, done in group:
                if not done.done():
                    done.set_exception(error)
            return
        self._spread(batches)
        for _, done in group:
            if not done.done():
                done.set_result(None)
