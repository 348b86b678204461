"""Members in Redis, or Valkey, one server, behind Sentinel, or a cluster.

Steps that have to happen at once happen in a script (:mod:`.scripts`). In a cluster a topic and the leases may be on
different nodes, so the fencing has three parts. A topic is noted under a living lease before the lease first holds members of it.
Clearing a lease leaves a refusal behind in each topic that is noted; the refusals last for :data:`KEPT_SECONDS`. And Redis refuses a
write to a topic whose members it has lost since, because the note may be lost as well: if the server died then, no other
would find these members. A server that slept for longer clears its old lease itself, after anything it still wrote.

Calls of one kind go out in one round trip, in a cluster in parallel.
"""

import asyncio
import contextlib
import secrets
from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from holdfast.redis.client import AsyncClient, Client, RedisStore, hash_tag
from holdfast.redis.script import Script, ScriptCall

from .base import Change, PresenceStore, PresenceUnavailable, Refreshed, Roster, Tell, Write
from .scripts import CHANGE, CLEAR, END, ENROL, LEAVE, LOOK, OPEN, READ, REFRESH

KEPT_SECONDS = 3600
"""Seconds for which the mark of an empty topic is kept, and for which an ended lease is refused there."""

CLEARED_AT_ONCE = 500
"""Members that one call of a script removes, at most."""

TOPICS_AT_ONCE = 500
CLUSTER_CALLS_AT_ONCE = 32
CLEAR_SECONDS = 5.0
"""Seconds that a server has to clear a lease that it ends, before another server does."""


class RedisPresence(PresenceStore):
    """A store in Redis. Its keys begin with ``<prefix>:presence:``."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._names = PresenceKeys(store.prefix)
        self._client: AsyncClient | None = None
        self._enrolled: defaultdict[str, set[str]] = defaultdict(set)  # topics that are noted, by lease
        # Those of them in which Redis has said last that the lease holds members. A write to one of these shows by itself whether
        # Redis has lost its memory since; a write to any other topic is preceded by a note, which needs a living lease.
        self._held: defaultdict[str, set[str]] = defaultdict(set)

    async def start(self) -> None:
        self._client = self._store.aclient()

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()

    # ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, lease: str, seconds: float) -> None:
        await self._one(OPEN, (self._names.leases,), lease, _milliseconds(seconds))

    async def refresh(self, lease: str, seconds: float) -> Refreshed:
        keys = (self._names.leases, self._names.ended)
        alive, ended = await self._one(REFRESH, keys, lease, _milliseconds(seconds))
        return Refreshed(alive=bool(alive), ended=tuple(name.decode() for name in ended))

    async def clear(self, lease: str, tell: Tell) -> None:
        names = self._names
        await self._one(END, (names.leases, names.ended), lease, _milliseconds(CLEAR_SECONDS))
        with _answering():
            noted = {name.decode() for name in await self._aclient.smembers(names.topics(lease))}
        topics = sorted(noted | self._enrolled.get(lease, set()))
        for start in range(0, max(len(topics), 1), TOPICS_AT_ONCE):
            part = topics[start : start + TOPICS_AT_ONCE]
            await self._clear(lease, part, tell)
            await self._one(LEAVE, (names.topics(lease), names.ended), lease, *part)
        self._held.pop(lease, None)
        self._enrolled.pop(lease, None)  # another task may have cleared it at the same time

    async def _clear(self, lease: str, topics: Sequence[str], tell: Tell) -> None:
        while topics:
            answers = await self._all([self._clearing(lease, topic) for topic in topics])
            for topic, answer in zip(topics, answers, strict=True):
                tell(topic, _change(answer, Write(topic=topic)))
            topics = [topic for topic, answer in zip(topics, answers, strict=True) if answer[5]]

    def _clearing(self, lease: str, topic: str) -> ScriptCall:
        return ScriptCall(CLEAR, self._names.change(topic, lease), (_nonce(), KEPT_SECONDS, CLEARED_AT_ONCE))

    # ── members ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def change(self, lease: str, writes: Sequence[Write]) -> Sequence[Change | None]:
        held = self._held[lease]
        if not await self._enrol(lease, {write.topic for write in writes} - held):
            return [None] * len(writes)
        calls = []
        for write in writes:
            calls.append(self._changing(lease, write, write.topic in held))
            # Not held as long as Redis has not answered, and not for another write to the topic behind one that may empty it.
            held.discard(write.topic)
        answers = await self._all(calls)
        last = dict(zip((write.topic for write in writes), answers, strict=True))
        held.update(topic for topic, answer in last.items() if answer and answer[5])
        return [
            _change(answer, write) if answer else None for write, answer in zip(writes, answers, strict=True)
        ]

    def _changing(self, lease: str, write: Write, holds: bool) -> ScriptCall:
        pairs = (text for pair in write.entering.items() for text in pair)
        arguments = (_nonce(), KEPT_SECONDS, int(holds), len(write.entering), *pairs, *write.leaving)
        return ScriptCall(CHANGE, self._names.change(write.topic, lease), arguments)

    async def _enrol(self, lease: str, topics: set[str]) -> bool:
        """Note topics under the lease. Return ``False`` if the lease has ended."""
        new = sorted(topics)
        names = self._names
        for start in range(0, len(new), TOPICS_AT_ONCE):
            part = new[start : start + TOPICS_AT_ONCE]
            if not await self._one(ENROL, (names.leases, names.topics(lease)), lease, *part):
                return False
            self._enrolled[lease].update(part)
        return True

    async def forget(self, lease: str, topics: Sequence[str]) -> None:
        self._enrolled[lease].difference_update(topics)
        self._held[lease].difference_update(topics)
        await self._one(LEAVE, (self._names.topics(lease), self._names.ended), lease, *topics)

    async def held(self, lease: str, topics: Sequence[str]) -> Sequence[frozenset[str]]:
        keys = [self._names.by(topic, lease) for topic in topics]
        found = await self._plain("smembers", keys)
        return [frozenset(member.decode() for member in members) for members in found]

    async def read(self, topics: Sequence[tuple[str, int]]) -> Sequence[Roster]:
        calls = [ScriptCall(READ, self._names.read(topic), (limit,)) for topic, limit in topics]
        return [_roster(answer) for answer in await self._all(calls)]

    async def marks(self, topics: Sequence[str]) -> Sequence[str]:
        keys = [self._names.mark(topic) for topic in topics]
        if self._store.clustered:
            found = await self._plain("get", keys)
        else:
            with _answering():
                parts = [
                    keys[start : start + TOPICS_AT_ONCE] for start in range(0, len(keys), TOPICS_AT_ONCE)
                ]
                found = [mark for part in parts for mark in await self._aclient.mget(part)]
        return [mark.decode() if mark else "" for mark in found]

    # ── for any thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def members(self, topic: str, limit: int, tell: Tell) -> Roster:
        names = self._names
        with _answering():
            client = self._store.client()
            for lease in LOOK.call(client, (names.leases, names.ended)):
                self._clear_here(client, lease.decode(), topic, tell)
            return _roster(READ.call(client, names.read(topic), limit))

    def _clear_here(self, client: Client, lease: str, topic: str, tell: Tell) -> None:
        """Remove the members that an ended lease holds in one topic. Other processes may be doing so too."""
        topics = self._names.topics(lease)
        more = client.sismember(topics, topic)
        if not more:
            return
        while more:
            script, keys, arguments = self._clearing(lease, topic)
            answer = script.call(client, keys, *arguments)
            tell(topic, _change(answer, Write(topic=topic)))
            more = answer[5]
        LEAVE.call(client, (topics, self._names.ended), lease, topic)

    # ── speaking to Redis ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _aclient(self) -> Any:
        if self._client is None:
            raise PresenceUnavailable("the presence store was stopped")
        return self._client

    async def _one(self, script: Script, keys: tuple[str, ...], *arguments: Any) -> Any:
        [answer] = await self._all([ScriptCall(script, keys, arguments)])
        return answer

    async def _all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Call scripts: by their hashes, and those that Redis does not know (any more) by their text."""
        with _answering():
            answers = await self._many([call.by_hash for call in calls])
            unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                again = await self._many([calls[place].by_text for place in unknown])
                for place, answer in zip(unknown, again, strict=True):
                    answers[place] = answer
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

    async def _plain(self, command: str, keys: Sequence[str]) -> list[Any]:
        with _answering():
            answers = await self._many([(command.upper(), key) for key in keys])
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

    async def _many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Carry out commands in a pipeline; in a cluster, whose pipelines take no scripts, concurrently."""
        client = self._aclient
        if not self._store.clustered:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(await pipeline.execute(raise_on_error=False))
        places = asyncio.Semaphore(CLUSTER_CALLS_AT_ONCE)

        async def one(command: tuple[Any, ...]) -> Any:
            async with places:
                return await client.execute_command(*command)

        return list(await asyncio.gather(*map(one, commands), return_exceptions=True))


class PresenceKeys:
    """The names of the keys. The part in braces decides on which node a cluster keeps a key."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}:presence:"
        self.leases = f"{prefix}:leases:{{leases}}"
        self.ended = f"{self.leases}:ended"

    def topics(self, lease: str) -> str:
        return f"{self.leases}:{lease}"

    def mark(self, topic: str) -> str:
        return self._prefix + hash_tag(topic)

    def by(self, topic: str, lease: str) -> str:
        return f"{self.mark(topic)}:by:{lease}"

    def read(self, topic: str) -> tuple[str, ...]:
        mark = self.mark(topic)
        return mark, f"{mark}:members"

    def change(self, topic: str, lease: str) -> tuple[str, ...]:
        mark = self.mark(topic)
        return mark, f"{mark}:members", f"{mark}:held", f"{mark}:by:{lease}", f"{mark}:ended:{lease}"


@contextlib.contextmanager
def _answering() -> Generator[None]:
    """Turn errors of Redis, and of the connection to it, into :class:`PresenceUnavailable`.

    A write on a connection that was closed a moment ago is an ``OSError`` on asyncio's own loop, and a ``RuntimeError`` on
    uvloop's, which redis-py does not expect.
    """
    try:
        yield
    except (RedisError, OSError, RuntimeError) as error:
        raise PresenceUnavailable(f"Redis: {type(error).__name__}: {error}") from error


def _nonce() -> str:
    return secrets.token_hex(4)


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)


def _change(answer: Any, write: Write) -> Change:
    before, mark, count, joined, left, _ = answer
    return Change(
        before=before.decode(),
        mark=mark.decode(),
        count=count,
        joined={member: write.entering[member] for member in (name.decode() for name in joined)},
        left=tuple(member.decode() for member in left),
    )


def _roster(answer: Any) -> Roster:
    mark, count, found = answer
    members = None
    if not isinstance(found, int):
        members = {member.decode(): info for member, info in zip(found[::2], found[1::2], strict=True)}
    return Roster(mark=mark.decode(), count=count, members=members)
