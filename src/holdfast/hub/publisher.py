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

logger = logging.getLogger("holdfast.publisher")


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
            self._log.enlist(drafts, self.spread)
        else:
            self.write(drafts)

    def write(self, drafts: Sequence[Draft]) -> None:
        """Publish durable events now, whatever transaction the caller is in. Blocks; on return they are safe."""
        self.spread(self._log.append(drafts))

    async def apublish(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        """As :meth:`publish`, from the event loop; never part of a transaction. Durable events of calls that run at
        the same time share one transaction of the log (group commit)."""
        if not drafts:
            return
        if not durable:
            self._pass(drafts)
        elif not self._log.blocking:
            self.spread(self._log.append(drafts))
        else:
            await self._writer().write(drafts)

    def spread(self, batches: Sequence[Batch]) -> None:
        """Tell everybody of entries that are in the log."""
        for batch in batches:
            item = news.Numbered.of(batch, self._origin)
            self._tell(batch.topic, item, abroad=not batch.announced)

    def spread_presence(self, topic: str, change: Change) -> None:
        """Tell everybody of a change of who is here that was not made by a hub."""
        if change.mark != change.before:
            self._tell(topic, news.Present.of(change, self._origin))

    def _when_committed(self, drafts: Sequence[Draft]) -> None:
        when_committed(partial(self._pass, drafts), self._log.alias)

    def _pass(self, drafts: Sequence[Draft]) -> None:
        topics: dict[str, list[Draft]] = {}
        for draft in drafts:
            topics.setdefault(draft.topic, []).append(draft)
        for topic, own in topics.items():
            self._tell(topic, news.Passing.of(own, self._origin))

    def _tell(self, topic: str, item: news.News, *, abroad: bool = True) -> None:
        """Never raises: to whoever published, an error would mean that the events are not in the log."""
        try:
            for hub in self._hubs:
                hub.deliver(topic, item)
            if abroad and self._backplane.shared:
                self._backplane.send(topic, news.encode(item))
        except Exception:
            logger.exception(
                "news of topic %r did not reach everybody; a comparison with the log will", topic
            )

    def _writer(self) -> "GroupCommit":
        loop = asyncio.get_running_loop()
        writer = self._writers.get(loop)
        if writer is None:
            self._writers = {other: w for other, w in self._writers.items() if not other.is_closed()}
            writer = self._writers[loop] = GroupCommit(self._log, self._threads, self.spread)
        return writer


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
