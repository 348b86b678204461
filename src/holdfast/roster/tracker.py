"""Tracking of presence in one hub: its own connections' members go into the store, and all members go out to clients.

A topic with presence has a :class:`~holdfast.roster.local.LocalPresence` here. The members that its connections want in the
store are compared with those that were written. The difference is written some milliseconds later, with that of all other
topics, in one round trip. So a thousand tabs that open at once cause one write. The store answers with what that changed for
all servers. The other hubs get it over the backplane, and every hub applies it to its
:class:`~holdfast.roster.replica.RosterReplica`, from which clients are notified.

Everything here runs on the hub's event loop.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

import msgspec

from holdfast.presence.base import Change, PresenceStore, PresenceUnavailable
from holdfast.process.batcher import Batcher
from holdfast.protocol.frames import JoinedPayload
from holdfast.streams.stream import Subscription

from .health import StoreHealth
from .loader import PATIENCE_SECONDS, RosterLoader
from .local import Attendance, LocalPresence, Pacer

logger = logging.getLogger("holdfast.presence")

LEASE_SECONDS = 15.0
GATHER_SECONDS = 0.005
"""How long changes gather before they are written, where that takes a round trip."""

FIRST_READ_SECONDS = 1.0
"""How long a join waits for the list. If reading takes longer the client gets the list when it has come."""

RETRY_SECONDS = 1.0
CHUNK = 500
"""Members in one write. A script that runs for longer than a millisecond would make all other clients of the store wait."""


class PresenceTracker:
    """The presence of one hub. Costs nothing until a topic with presence is joined."""

    def __init__(
        self,
        store: PresenceStore,
        *,
        seconds: float,
        send: Callable[[str, Change], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._send = send  # to the other processes
        self._spawn = spawn
        self._topics: dict[str, LocalPresence] = {}
        self._pacer = Pacer()
        self._started: asyncio.Task[None] | None = None
        self._lease = ""
        self._old: dict[str, None] = {}  # leases that were lost, and may still hold something
        self._health = StoreHealth()
        gather = GATHER_SECONDS if store.shared else 0.0
        self._writes = Batcher(self._write_batch, spawn=spawn, gather_seconds=gather)
        self._loader = RosterLoader(store, writes=self._writes, health=self._health, spawn=spawn)

    # ── joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────

    async def visit(self, topic: str, limit: int) -> None:
        """Have the topic's list at hand, if that does not take too long. The hub is subscribed to the topic already."""
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._started)
        local = self._topics.get(topic)
        if local is None:
            local = self._topics[topic] = LocalPresence(topic, limit, self._pacer)
        elif not local.open:
            local.begin()
        if not local.replica.known:
            self._loader.load_soon(local, 0)
            try:
                async with asyncio.timeout(FIRST_READ_SECONDS):
                    await local.loaded.wait()
            except TimeoutError:
                pass  # the store is away

    def list_bytes(self, topic: str) -> int:
        """Return the size of the list that a joining client gets; 0 if it gets none."""
        replica = self._topics[topic].replica
        return len(replica.listing) if replica.members is not None else 0

    def greet(self, topic: str, payload: JoinedPayload, attendance: Attendance) -> JoinedPayload:
        """Add the members, the joining client included, to the answer to its join; nothing, if they are not known yet."""
        local = self._topics[topic]
        replica = local.replica
        if not replica.known or not local.complete:
            return payload
        count = replica.count + local.is_new(attendance)
        if replica.members is None or count > replica.limit:
            return msgspec.structs.replace(payload, count=count)
        listing = replica.listing
        if local.is_new(attendance):
            listing = b"[%b%b]" % (listing[1:-1] + b"," if replica.members else b"", attendance.info)
        return msgspec.structs.replace(payload, members=msgspec.Raw(listing))

    def enter(self, subscription: Subscription, attendance: Attendance) -> None:
        """Add a client that was greeted in this turn of the loop. From now on it is notified of changes."""
        local = self._topics[subscription.stream.name]
        if local.enter(subscription, attendance):
            self._writes.add(local)

    def leave(self, subscription: Subscription) -> None:
        """Remove a subscription that ends. It may be one of a topic without presence."""
        local = self._topics.get(subscription.stream.name)
        if local is not None and local.leave(subscription):
            self._writes.add(local)

    def resume(self, subscription: Subscription) -> None:
        """Notify a client that can be written to again of what it has missed."""
        local = self._topics.get(subscription.stream.name)
        if local is not None:
            local.notify([subscription])

    def close(self, topic: str) -> None:
        """Stop following the list of a topic that has no subscribers any more."""
        local = self._topics.get(topic)
        if local is not None:
            local.close()
            self._writes.add(local)

    @property
    def reads(self) -> int:
        """How many lists were read, for tests and metrics."""
        return self._loader.reads

    # ── life and lease ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _start(self) -> None:
        await self._store.start()
        self._spawn(self._refresh_forever())

    async def stop(self) -> None:
        """Give the lease back, so that this server's members are removed at once. Takes at most some seconds."""
        self._writes.close()
        if self._started is None:
            return
        try:
            async with asyncio.timeout(2 * RETRY_SECONDS):
                await self._started
                for lease in (*self._old, self._lease):
                    if lease:
                        await self._store.clear(lease, self._send)
        except (TimeoutError, PresenceUnavailable):
            logger.warning(
                "the presence store does not answer: this server's members stay listed until its lease ends in %g seconds",
                self._seconds,
            )
        except Exception:
            logger.exception(
                "this server's members could not be removed from the presence store; they stay listed until its lease "
                "ends in %g seconds",
                self._seconds,
            )
        self._started, self._lease, self._old = None, "", {}
        self._topics.clear()
        await self._store.stop()

    async def _refresh_forever(self) -> None:
        pause = self._seconds / 3
        while True:
            await asyncio.sleep(pause)
            try:
                await self._refresh()
                pause = self._seconds / 3
            except PresenceUnavailable as error:
                self._health.failed(error)
                pause = min(RETRY_SECONDS, self._seconds / 3)
            except Exception:
                logger.exception("the lease in the presence store could not be refreshed; trying again")

    async def _refresh(self) -> None:
        """Refresh the lease of all members of this server with one command, and look for servers that have died."""
        if not self._topics and not self._lease:
            return
        lease = self._lease
        found = await self._store.refresh(lease, self._seconds)
        if lease and not found.alive and lease == self._lease:
            self._lose_lease()
        self._recover()
        for dead in found.ended:
            self._spawn(self._clear(dead))

    async def _clear(self, dead: str) -> None:
        """Remove the members of a server that has died. If this fails the store asks another server."""
        logger.warning("a server has died without giving back its lease: removing its members")
        try:
            await self._store.clear(dead, self._on_own_change)
        except PresenceUnavailable as error:
            self._health.failed(error)

    def _lose_lease(self) -> None:
        """Enter all members again: another server took this one for dead, or the store has lost its memory."""
        logger.warning("this server's lease in the presence store has ended: entering its members again")
        self._old[self._lease] = None
        self._lease = ""
        for local in self._topics.values():
            local.begin_writing(set())
            self._writes.add(local)
        self._writes.wake()  # for the old lease, even if there is no topic
        self.interrupted()

    def _recover(self) -> None:
        """The store answers: if it did not before, changes may have been missed (``docs/architecture.md``, "When Redis comes
        back")."""
        if self._health.recovered():
            self.interrupted()

    # ── this server's members go into the store ──────────────────────────────────────────────────────────────────────

    async def _write_batch(self, topics: list[LocalPresence]) -> None:
        """Write what has changed in some topics. There is one write at a time, so that the store gets them in order."""
        try:
            await self._write(topics)
            return
        except PresenceUnavailable as error:
            self._health.failed(error)
        except Exception:
            logger.exception(
                "presence could not be written to its store; trying again in %g seconds", RETRY_SECONDS
            )
        self._look_up(topics)
        if self._old:
            self._writes.wake()
        await asyncio.sleep(RETRY_SECONDS)

    def _look_up(self, topics: Iterable[LocalPresence]) -> None:
        """Ask the store what it holds for this server in these topics, since a write may or may not have been made.

        A topic that was dropped had nothing to be written, and a newer object may have its place.
        """
        for local in topics:
            if self._topics.get(local.topic) is local:
                local.begin_writing(None)
                self._writes.add(local)

    async def _write(self, topics: Collection[LocalPresence]) -> None:
        lease = self._lease
        if not lease and any(local.members for local in topics):
            lease = secrets.token_hex(8)
            await self._store.open(lease, self._seconds)
            self._lease = lease
        unknown = [local for local in topics if local.written is None]
        if unknown:
            held = await self._store.held(lease, [local.topic for local in unknown])
            if lease != self._lease:
                return  # it was lost in between, and all topics have to be written anyway
            for local, members in zip(unknown, held, strict=True):
                local.begin_writing(set(members))
        # Those that have to be looked up since then are in the next batch.
        known = [local for local in topics if local.written is not None]
        parts = [(local, write) for local in known for write in local.writes(CHUNK)]
        if parts:
            results = await self._store.change(lease, [write for _, write in parts])
            refused = False
            for (local, write), change in zip(parts, results, strict=True):
                if change is None:
                    refused = True
                    continue
                if lease == self._lease:
                    local.wrote(write)
                self._on_own_change(write.topic, change)
            if refused and lease == self._lease:
                self._lose_lease()
        self._recover()
        await self._tidy(lease, topics)

    async def _tidy(self, lease: str, topics: Collection[LocalPresence]) -> None:
        """Drop topics that are closed and empty. When all members have entered again, clear the leases that were lost."""
        over = [local for local in topics if local.over and local not in self._writes]
        if over and lease == self._lease:
            for local in over:
                if self._topics.get(local.topic) is local:
                    del self._topics[local.topic]
            if lease:
                await self._store.forget(lease, [local.topic for local in over])
        if not len(self._writes):
            for old in tuple(self._old):
                await self._store.clear(old, self._on_own_change)
                del self._old[old]

    # ── changes come out of the store ────────────────────────────────────────────────────────────────────────────────

    def _on_own_change(self, topic: str, change: Change) -> None:
        """Apply a change that a write of this process has made, and send it to the other processes."""
        if change.mark != change.before:
            self.take(topic, change)
            self._send(topic, change)

    def take(self, topic: str, change: Change) -> None:
        """Apply a change of a topic's list, made by this server or another one."""
        local = self._topics.get(topic)
        if local is not None and local.open:
            local.apply(change)
            if local.outdated:
                self._loader.load_soon(local, PATIENCE_SECONDS)
            elif local.lost_by(change.left):
                self._look_up([local])

    def interrupted(self) -> None:
        """Compare with the store: changes may have been missed."""
        if self._topics:
            self._spawn(self.compare_quietly())

    async def compare_quietly(self) -> None:
        """As :meth:`compare`; logs errors instead of raising them."""
        try:
            await self.compare()
        except PresenceUnavailable as error:
            self._health.failed(error)
        except Exception:
            logger.exception(
                "rosters could not be compared with the presence store; the next comparison tries again"
            )

    async def compare(self) -> None:
        """Read the lists again whose marks differ from the store's. One round trip compares all topics."""
        asked = {topic: local.replica.mark for topic, local in self._topics.items() if local.open}
        if not asked:
            return
        marks = await self._store.marks(list(asked))
        for (topic, before), mark in zip(asked.items(), marks, strict=True):
            local = self._topics.get(topic)
            if local is None or not local.open:
                continue
            different = local.replica.mark == before != mark
            if different or local.outdated:
                self._loader.load_soon(local, 0)
            if different and local.replica.members is None:
                # There is no list in which this server's own members could be looked for.
                self._look_up([local])
