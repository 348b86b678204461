"""Who is here, as one hub sees it: its own connections' members into the store, everybody's members out to clients.

A topic with presence has a :class:`Room` here. What its connections want the store to hold is compared with what was
written, and the difference goes out some milliseconds later, with that of all other topics, in one round trip: so a tab
that is reloaded writes nothing, and a thousand tabs that come at once write once. Back comes what that changed for
everybody; the other hubs hear of it over the backplane, and every hub applies it to its :class:`~holdfast.roster.replica.Mirror`
of the list, from which clients are told.

Everything here runs on the hub's event loop.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

import msgspec

from holdfast.presence.base import Change, PresenceStore, PresenceUnavailable
from holdfast.protocol.frames import JoinedPayload
from holdfast.streams.stream import Subscription

from .loader import PATIENCE_SECONDS, Lists
from .local import Attending, Pace, Room

logger = logging.getLogger("holdfast.presence")

LEASE_SECONDS = 15.0
GATHER_SECONDS = 0.005
"""For how long changes gather before they are written, where that takes a round trip."""

FIRST_READ_SECONDS = 1.0
"""How long a join waits for the list. If it takes longer the list follows when it has come."""

RETRY_SECONDS = 1.0
CHUNK = 500
"""Members in one write: a script that takes longer than a millisecond would make everybody else wait."""


class Presence:
    """The presence of one hub. Costs nothing until a topic with presence is joined."""

    def __init__(
        self,
        store: PresenceStore,
        *,
        seconds: float,
        send: Callable[[str, Change], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._send = send  # tells the other processes
        self._spawn = spawn
        self._rooms: dict[str, Room] = {}
        self._pace = Pace()
        self._started: asyncio.Task[None] | None = None
        self._lease = ""
        self._old: dict[str, None] = {}  # leases that were lost, and may still hold something
        self._changed: dict[str, Room] = {}  # what has to be written
        self._writing = False
        self._troubled = False  # said once for each outage
        self._stopped = False
        self._lists = Lists(store, spawn=spawn, read=self._look_for_own, complain=self._complain)

    # ── joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────

    async def visit(self, topic: str, limit: int) -> None:
        """Have the topic's list at hand, if that does not take too long. The topic is listened to already."""
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._started)
        room = self._rooms.get(topic)
        if room is None:
            room = self._rooms[topic] = Room(topic, limit, self._pace)
        elif not room.open:
            room.begin()
        if not room.mirror.known:
            self._lists.read_soon(room, 0)
            try:
                async with asyncio.timeout(FIRST_READ_SECONDS):
                    await room.loaded.wait()
            except TimeoutError:
                pass  # the store is away

    def greet(self, topic: str, payload: JoinedPayload, who: Attending) -> JoinedPayload:
        """Add to what a joining client is told who is here, itself included; nothing, if that is not known yet."""
        room = self._rooms[topic]
        mirror = room.mirror
        if not mirror.known or not room.complete:
            return payload
        count = mirror.count + room.is_new(who)
        if mirror.members is None or count > mirror.limit:
            return msgspec.structs.replace(payload, count=count)
        listing = mirror.listing
        if room.is_new(who):
            listing = b"[%b%b]" % (listing[1:-1] + b"," if mirror.members else b"", who.info)
        return msgspec.structs.replace(payload, members=msgspec.Raw(listing))

    def enter(self, subscription: Subscription, who: Attending) -> None:
        """A client that was greeted in this turn of the loop begins to listen, and is here itself."""
        room = self._rooms[subscription.stream.name]
        if room.enter(subscription, who):
            self._write_soon(room)

    def leave(self, subscription: Subscription) -> None:
        """A subscription ends; any, also of a topic without presence."""
        room = self._rooms.get(subscription.stream.name)
        if room is not None and room.leave(subscription):
            self._write_soon(room)

    def resume(self, subscription: Subscription) -> None:
        """A client can be written to again: tell it what it has missed."""
        room = self._rooms.get(subscription.stream.name)
        if room is not None:
            room.tell([subscription])

    def close(self, topic: str) -> None:
        """Nobody listens to the topic any more, so what its list becomes is not known from now on."""
        room = self._rooms.get(topic)
        if room is not None:
            room.close()
            self._write_soon(room)

    @property
    def reads(self) -> int:
        """How many lists were read, for tests and metrics."""
        return self._lists.reads

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _start(self) -> None:
        await self._store.start()
        self._spawn(self._refresh_forever())

    async def stop(self) -> None:
        """Give the lease back, so that who was here through this server is gone at once. For at most some seconds."""
        self._stopped = True
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
                "the presence store was not told that this server stops; its lease will end by itself"
            )
        except Exception:
            logger.exception("the presence store could not be told that this server stops")
        self._started, self._lease, self._old = None, "", {}
        self._rooms.clear()
        self._changed.clear()
        await self._store.stop()

    async def _refresh_forever(self) -> None:
        pause = self._seconds / 3
        while True:
            await asyncio.sleep(pause)
            try:
                await self._refresh()
                pause = self._seconds / 3
            except PresenceUnavailable as error:
                self._complain(error)
                pause = min(RETRY_SECONDS, self._seconds / 3)
            except Exception:
                logger.exception("the lease could not be refreshed")

    async def _refresh(self) -> None:
        """One command for all the members of this server; and a look for servers that have died."""
        if not self._rooms and not self._lease:
            return
        lease = self._lease
        found = await self._store.refresh(lease, self._seconds)
        if lease and not found.alive and lease == self._lease:
            self._lose_lease()
        if self._troubled:
            self._recover()
        for dead in found.ended:
            self._spawn(self._clear(dead))

    async def _clear(self, dead: str) -> None:
        """Take away what a server held that is gone. If this fails another server is asked to."""
        logger.warning("a server has gone without a word: its members are taken away")
        try:
            await self._store.clear(dead, self._changed_here)
        except PresenceUnavailable as error:
            self._complain(error)

    def _lose_lease(self) -> None:
        """Somebody took this server for dead, or the store has lost its memory: everybody enters again."""
        logger.warning("this server's lease has ended: its members enter again")
        self._old[self._lease] = None
        self._lease = ""
        for room in self._rooms.values():
            room.begin_writing(set())
            self._changed[room.topic] = room
        self._wake_writer()
        self.interrupted()

    def _complain(self, error: Exception) -> None:
        if not self._troubled:
            logger.warning("presence stands still until its store answers: %s", error)
        self._troubled = True

    def _recover(self) -> None:
        self._troubled = False
        logger.info("the presence store answers again")
        self.interrupted()

    # ── what is here goes into the store ─────────────────────────────────────────────────────────────────────────────

    def _write_soon(self, room: Room) -> None:
        self._changed[room.topic] = room
        self._wake_writer()

    def _wake_writer(self) -> None:
        if not self._writing and not self._stopped:
            self._writing = True
            self._spawn(self._write_all())

    async def _write_all(self) -> None:
        """Write until there is nothing left to be written. One at a time, so that the store sees things in order."""
        try:
            while self._changed or self._old:
                if self._store.shared:
                    await asyncio.sleep(GATHER_SECONDS)
                rooms, self._changed = tuple(self._changed.values()), {}
                try:
                    await self._write(rooms)
                except PresenceUnavailable as error:
                    self._complain(error)
                    self._doubt(rooms)
                    await asyncio.sleep(RETRY_SECONDS)
                except Exception:
                    logger.exception("presence could not be written")
                    self._doubt(rooms)
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._writing = False

    def _doubt(self, rooms: Iterable[Room]) -> None:
        """What was to be written may have been written, or not. A room that is gone had nothing to be written, and another
        one may have its place."""
        for room in rooms:
            if self._rooms.get(room.topic) is room:
                room.begin_writing(None)
                self._changed[room.topic] = room

    async def _write(self, rooms: Collection[Room]) -> None:
        lease = self._lease
        if not lease and any(room.members for room in rooms):
            lease = secrets.token_hex(8)
            await self._store.open(lease, self._seconds)
            self._lease = lease
        doubted = [room for room in rooms if room.written is None]
        if doubted:
            held = await self._store.held(lease, [room.topic for room in doubted])
            if lease != self._lease:
                return  # it was lost meanwhile, and all rooms have to be written anyway
            for room, members in zip(doubted, held, strict=True):
                room.begin_writing(set(members))
        # Those that came into doubt meanwhile have their turn again.
        known = [room for room in rooms if room.written is not None]
        parts = [(room, write) for room in known for write in room.writes(CHUNK)]
        if parts:
            results = await self._store.change(lease, [write for _, write in parts])
            refused = False
            for (room, write), change in zip(parts, results, strict=True):
                if change is None:
                    refused = True
                    continue
                if lease == self._lease:
                    room.wrote(write)
                self._changed_here(write.topic, change)
            if refused and lease == self._lease:
                self._lose_lease()
        if self._troubled:
            self._recover()
        await self._tidy(lease, rooms)

    async def _tidy(self, lease: str, rooms: Collection[Room]) -> None:
        """Forget rooms that are closed and empty; and, when everybody has entered again, the leases that were lost."""
        over = [room for room in rooms if room.over and room.topic not in self._changed]
        if over and lease == self._lease:
            for room in over:
                if self._rooms.get(room.topic) is room:
                    del self._rooms[room.topic]
            if lease:
                await self._store.forget(lease, [room.topic for room in over])
        if not self._changed:
            for old in tuple(self._old):
                await self._store.clear(old, self._changed_here)
                del self._old[old]

    # ── what changed comes out of the store ──────────────────────────────────────────────────────────────────────────

    def _changed_here(self, topic: str, change: Change) -> None:
        """A write of this process has changed who is here."""
        if change.mark != change.before:
            self.take(topic, change)
            self._send(topic, change)

    def take(self, topic: str, change: Change) -> None:
        """The list of a topic has changed, through this server or another one."""
        room = self._rooms.get(topic)
        if room is not None and room.open:
            room.take(change)
            if room.doubtful:
                self._lists.read_soon(room, PATIENCE_SECONDS)
            elif room.misses(change.left):
                self._doubt([room])
                self._wake_writer()

    def interrupted(self) -> None:
        """Changes may have been missed."""
        if self._rooms:
            self._spawn(self.compare_quietly())

    async def compare_quietly(self) -> None:
        """Read the lists anew whose marks are not what they should be."""
        try:
            await self.compare()
        except PresenceUnavailable as error:
            self._complain(error)
        except Exception:
            logger.exception("presence could not be compared with its store")

    async def compare(self) -> None:
        """Read the lists anew whose marks are not what they should be. One round trip for all of them."""
        asked = {topic: room.mirror.mark for topic, room in self._rooms.items() if room.open}
        if not asked:
            return
        marks = await self._store.marks(list(asked))
        for (topic, before), mark in zip(asked.items(), marks, strict=True):
            room = self._rooms.get(topic)
            if room is None or not room.open:
                continue
            different = room.mirror.mark == before != mark
            if different or room.doubtful:
                self._lists.read_soon(room, 0)
            if different and room.mirror.members is None:
                self._doubt([room])  # there is no list to look for this server's own members in
                self._write_soon(room)

    def _look_for_own(self, room: Room) -> None:
        """Nobody who is connected here may be missing in the list: then the store has lost what was written."""
        members, written = room.mirror.members, room.written
        if members is not None and written is not None and not written <= members.keys():
            room.begin_writing(None)
            self._write_soon(room)
