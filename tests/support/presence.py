"""Servers with presence, on one loop: their store can be slow, away, or empty, and they can pause and die."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.backplane.memory import MemoryExchange
from holdfast.hub.hub import Timing
from holdfast.log.memory import MemoryLog
from holdfast.presence.base import (
    Change,
    PresenceStore,
    PresenceUnavailable,
    Refreshed,
    Roster,
    Tell,
    Write,
)
from holdfast.presence.memory import MemoryPresence
from holdfast.protocol.frames import JoinedPayload
from holdfast.roster.local import Attendance
from holdfast.streams.prepared import Burst
from holdfast.threads.threads import Inline

from .hubs import TOPIC, Listener, Server, join

LEASE = 15.0
LIMIT = 50


class Place(MemoryPresence):
    """The place that all servers share, as they would share a Redis."""

    shared = True

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop().time)
        self.commands: list[str] = []

    def lose_memory(self) -> None:
        """Lose all members, as a Redis that was started again, empty."""
        self.__init__()  # type: ignore[misc]

    def here(self, topic: str = TOPIC) -> set[str]:
        found = self._topics.get(topic)
        return set() if found is None else set(found.members)


class Reach(PresenceStore):
    """One server's way to the place."""

    def __init__(self, place: Place, chance: random.Random | None = None) -> None:
        self.place = place
        self.chance = chance
        self.away = ""
        """``"before"`` or ``"after"``: calls fail before or after they have carried out their work."""
        self._awake = asyncio.Event()
        self._awake.set()

    def sleep(self) -> None:
        self._awake.clear()

    def wake(self) -> None:
        self._awake.set()

    async def _trip(self) -> None:
        await self._awake.wait()
        if self.chance is not None:
            await asyncio.sleep(self.chance.choice((0, 0.0001, 0.003, 0.03)))
            await self._awake.wait()

    async def _ask(self, name: str, *args: Any) -> Any:
        await self._trip()
        if self.away == "before":
            raise PresenceUnavailable("away")
        self.place.commands.append(name)
        found = await getattr(self.place, name)(*args)
        if self.away == "after":
            raise PresenceUnavailable("away")
        await self._trip()
        return found

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def open(self, lease: str, seconds: float) -> None:
        await self._ask("open", lease, seconds)

    async def refresh(self, lease: str, seconds: float) -> Refreshed:
        found: Refreshed = await self._ask("refresh", lease, seconds)
        return found

    async def change(self, lease: str, writes: Sequence[Write]) -> Sequence[Change | None]:
        found: Sequence[Change | None] = await self._ask("change", lease, writes)
        return found

    async def held(self, lease: str, topics: Sequence[str]) -> Sequence[frozenset[str]]:
        found: Sequence[frozenset[str]] = await self._ask("held", lease, topics)
        return found

    async def forget(self, lease: str, topics: Sequence[str]) -> None:
        await self._ask("forget", lease, topics)

    async def clear(self, lease: str, tell: Tell) -> None:
        await self._ask("clear", lease, tell)

    async def read(self, topics: Sequence[tuple[str, int]]) -> Sequence[Roster]:
        found: Sequence[Roster] = await self._ask("read", topics)
        return found

    async def marks(self, topics: Sequence[str]) -> Sequence[str]:
        found: Sequence[str] = await self._ask("marks", topics)
        return found

    def members(self, topic: str, limit: int, tell: Tell) -> Roster:
        return self.place.members(topic, limit, tell)


class Watcher(Listener):
    """A client that keeps the list as ``PROTOCOL.md`` says, and fails at a message that contradicts it."""

    def __init__(self, member: str | None = None) -> None:
        super().__init__()
        self.member = member
        self.view: dict[str, bytes] | None = None
        self.count: int | None = None
        self.told: list[dict[str, Any]] = []

    def announce(self, payload: JoinedPayload) -> bool:
        if payload.members is not msgspec.UNSET:
            self._take_list(msgspec.json.decode(payload.members, type=list[msgspec.Raw]))
        elif payload.count is not None:
            self.count = payload.count
        return super().announce(payload)

    def write(self, burst: Burst) -> None:
        for event in burst.events:
            assert self.ready, "told while not ready"
            if event.name == "presence":
                self._take(msgspec.json.decode(event.payload, type=dict[str, msgspec.Raw]))
            else:
                super().write(Burst([event]))

    def _take(self, told: dict[str, msgspec.Raw]) -> None:
        self.told.append({name: msgspec.json.decode(value) for name, value in told.items()})
        assert told, "a message that says nothing"
        if "count" in told:
            self.view, self.count = None, msgspec.json.decode(told["count"], type=int)
            return
        if "members" in told:
            self._take_list(msgspec.json.decode(told["members"], type=list[msgspec.Raw]))
            return
        assert self.view is not None, "a difference to a list that is not known"
        joined = msgspec.json.decode(told.get("joined", b"[]"), type=list[msgspec.Raw])
        left = msgspec.json.decode(told.get("left", b"[]"), type=list[str])
        for member in left:
            assert member in self.view, f"{member} left without having been here"
            del self.view[member]
        for info in joined:
            new = self.view.get(_id(info)) != bytes(info)
            assert new or _id(info) == self.member, f"{_id(info)} joined twice"
            self.view[_id(info)] = bytes(info)
        assert not {_id(info) for info in joined} & set(left)
        self.count = len(self.view)

    def _take_list(self, infos: list[msgspec.Raw]) -> None:
        self.view = {_id(info): bytes(info) for info in infos}
        assert len(self.view) == len(infos), "a member is in the list twice"
        self.count = len(self.view)

    @property
    def sees(self) -> set[str] | None:
        return None if self.view is None else set(self.view)


def _id(info: msgspec.Raw) -> str:
    found: str = msgspec.json.decode(info)["id"]
    return found


def attending(member: str | None, limit: int = LIMIT) -> Attendance:
    return Attendance(member=member, info=b'{"id":"%b","since":1}' % (member or "").encode(), limit=limit)


class Harbour:
    """One server with its clients."""

    def __init__(self, number: int, place: Place, exchange: MemoryExchange, reach: Reach) -> None:
        self.reach = reach
        timing = Timing(patience=0.01, compare=2.0, linger=5.0, lease=LEASE)
        self.server = Server(MemoryLog(), exchange, Inline(), timing, reach)
        self.clients: list[Watcher] = []
        self.running = True
        self.asleep = False

    @property
    def presence(self) -> Any:
        return self.server.hub.presence

    async def join(
        self, member: str | None, topic: str = TOPIC, limit: int = LIMIT, watcher: Watcher | None = None
    ) -> Watcher:
        watcher = watcher or Watcher(member)
        await join(self.server.hub, watcher, topic, durable=False, attending=attending(member, limit))
        self.clients.append(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        assert watcher.subscription is not None
        self.clients.remove(watcher)
        self.server.hub.leave(watcher.subscription)

    def resume(self, watcher: Watcher) -> None:
        watcher.ready = True
        assert watcher.subscription is not None
        self.server.hub.resume(watcher.subscription)

    async def kill(self) -> None:
        """Stop it without a message to the others."""
        self.running = False
        self.reach.sleep()
        hub = self.server.hub
        tasks = tuple(hub._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.server.backplane.stop()
        for room in self.presence._topics.values():
            room.close()
        self.clients.clear()

    async def stop(self) -> None:
        self.running = False
        for client in tuple(self.clients):
            self.leave(client)
        await self.server.hub.stop()


class Coast:
    """The servers, their exchange, and the place of their members."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.place = Place()
        self.exchange = MemoryExchange()
        self.chance = chance
        self.servers: list[Harbour] = []

    async def server(self) -> Harbour:
        made = Harbour(len(self.servers), self.place, self.exchange, Reach(self.place, self.chance))
        self.servers.append(made)
        await made.server.start()
        return made

    @property
    def running(self) -> list[Harbour]:
        return [server for server in self.servers if server.running]
