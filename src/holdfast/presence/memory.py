"""Members in this process's memory: for one process, and for tests of several servers in one."""

import logging
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from .base import Change, PresenceStore, Refreshed, Roster, Tell, Write

logger = logging.getLogger("holdfast.presence")

FORGET_SECONDS = 3600.0
"""Seconds for which the mark of a topic without members is kept: messages about it may be late."""


class TopicMembers:
    """One topic's members, and the leases that hold them."""

    def __init__(self) -> None:
        self.mark = ""
        self.number = 0
        self.members: dict[str, bytes] = {}
        self.held: defaultdict[str, set[str]] = defaultdict(set)  # by lease

    def change(self, lease: str, write: Write) -> Change:
        own, joined = self.held[lease], {}
        for member, info in write.entering.items():
            if member not in self.members:
                joined[member] = self.members[member] = info
            own.add(member)
        left = []
        for member in own.intersection(write.leaving):
            own.discard(member)
            if not any(member in members for members in self.held.values()):
                del self.members[member]
                left.append(member)
        if not own:
            del self.held[lease]
        before = self.mark
        if joined or left:
            self.number += 1
            self.mark = f"{self.number}-{secrets.token_hex(4)}"
        return Change(before=before, mark=self.mark, count=len(self.members), joined=joined, left=tuple(left))

    def roster(self, limit: int) -> Roster:
        count = len(self.members)
        return Roster(mark=self.mark, count=count, members=dict(self.members) if count <= limit else None)


class MemoryPresence(PresenceStore):
    """A store in this process's memory. ``clock`` is in seconds. ``has_others`` says whether other processes serve clients,
    whose members are not in here: then the first use logs a warning."""

    shared = False

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, has_others: Callable[[], bool] | None = None
    ) -> None:
        self._clock = clock
        self._has_others = has_others
        self._lock = threading.RLock()
        self._topics: dict[str, TopicMembers] = {}
        self._empty: dict[str, float] = {}  # since when
        self._leases: dict[str, float] = {}  # until when
        self._ended: dict[str, float] = {}  # until when it is being cleared

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def open(self, lease: str, seconds: float) -> None:
        with self._lock:
            self._leases[lease] = self._clock() + seconds

    async def refresh(self, lease: str, seconds: float) -> Refreshed:
        with self._lock:
            alive = lease in self._leases
            if alive:
                self._leases[lease] = self._clock() + seconds
            self._forget_empty()
            return Refreshed(alive=alive, ended=tuple(self._claim(seconds)))

    def _end_overdue(self) -> None:
        now = self._clock()
        for lease in [lease for lease, until in self._leases.items() if until <= now]:
            del self._leases[lease]
            self._ended[lease] = now

    def _claim(self, seconds: float) -> Iterator[str]:
        self._end_overdue()
        now = self._clock()
        for lease, until in self._ended.items():
            if until <= now:
                self._ended[lease] = now + seconds
                yield lease

    async def change(self, lease: str, writes: Sequence[Write]) -> Sequence[Change | None]:
        self._warn_of_others()
        with self._lock:
            return [self._change(lease, write) for write in writes]

    def _change(self, lease: str, write: Write) -> Change | None:
        if lease not in self._leases:
            return None
        topic = self._topics.setdefault(write.topic, TopicMembers())
        return self._noted(write.topic, topic.change(lease, write))

    def _noted(self, name: str, change: Change) -> Change:
        self._empty.pop(name, None)
        if not change.count:
            self._empty[name] = self._clock()
        return change

    def _forget_empty(self) -> None:
        before = self._clock() - FORGET_SECONDS
        while self._empty and next(iter(self._empty.values())) < before:
            name = next(iter(self._empty))
            del self._empty[name], self._topics[name]

    async def held(self, lease: str, topics: Sequence[str]) -> Sequence[frozenset[str]]:
        with self._lock:
            found = [self._topics.get(topic) for topic in topics]
            return [
                frozenset(topic.held.get(lease, ())) if topic is not None else frozenset() for topic in found
            ]

    async def forget(self, lease: str, topics: Sequence[str]) -> None:
        pass

    async def clear(self, lease: str, tell: Tell) -> None:
        self._clear(lease, tell)

    def _clear(self, lease: str, tell: Tell) -> None:
        with self._lock:
            self._leases.pop(lease, None)
            self._ended.pop(lease, None)
            for name, topic in list(self._topics.items()):
                if lease in topic.held:
                    leaving = tuple(topic.held[lease])
                    change = topic.change(lease, Write(topic=name, leaving=leaving))
                    tell(name, self._noted(name, change))

    async def read(self, topics: Sequence[tuple[str, int]]) -> Sequence[Roster]:
        self._warn_of_others()
        with self._lock:
            return [self._topics.get(topic, TopicMembers()).roster(limit) for topic, limit in topics]

    async def marks(self, topics: Sequence[str]) -> Sequence[str]:
        with self._lock:
            return [self._topics[name].mark if name in self._topics else "" for name in topics]

    def members(self, topic: str, limit: int, tell: Tell) -> Roster:
        self._warn_of_others()
        with self._lock:
            self._end_overdue()
            for lease in tuple(self._ended):
                self._clear(lease, tell)
            return self._topics.get(topic, TopicMembers()).roster(limit)

    def _warn_of_others(self) -> None:
        if self._has_others is not None and self._has_others():
            self._has_others = None
            logger.warning(
                "Other processes of this machine serve clients too, and presence is kept in memory: this process knows only "
                "the members that are connected to itself. For one list set HOLDFAST = "
                '{"REDIS": "redis://localhost:6379/0"}; if each process is to have its own, {"PRESENCE": "memory"}.'
            )
