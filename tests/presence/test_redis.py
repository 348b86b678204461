"""The Redis store: scripts that Redis may have forgotten, memory that it may lose, and hubs that survive that."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.crc import key_slot

from holdfast.backplane.memory import MemoryExchange
from holdfast.hub.hub import Timing
from holdfast.log.memory import MemoryLog
from holdfast.presence.base import PresenceUnavailable, Write
from holdfast.presence.redis import PresenceKeys, RedisPresence
from holdfast.redis.client import RedisStore
from holdfast.threads.threads import Inline
from tests.services.redis import RedisServer
from tests.support.hubs import TOPIC, Server, join
from tests.support.presence import Watcher, attending

from .test_contract import Heard, enter, here, info, lease

SECONDS = 30.0


def store_at(url: str) -> RedisPresence:
    return RedisPresence(RedisStore(url))


@pytest_asyncio.fixture
async def store(redis_url: str) -> AsyncIterator[RedisPresence]:
    made = store_at(redis_url)
    await made.start()
    yield made
    await made.stop()


async def test_scripts_that_redis_has_forgotten_are_sent_again(
    store: RedisPresence, redis_server: RedisServer
) -> None:
    one = await lease(store, "one")
    await enter(store, one, "ada")
    with redis_server.client() as client:
        client.script_flush()
    writes = [Write(topic=f"rooms/{number}", entering={"ada": info("ada")}) for number in range(5)]
    assert all(await store.change(one, writes))


async def test_only_marks_that_expire_are_left_behind(
    store: RedisPresence, redis_server: RedisServer
) -> None:
    one, topic = await lease(store, "one"), "rooms/lobby"
    await enter(store, one, "ada", "grace")
    await store.clear(one, Heard())
    with redis_server.client() as client:
        left: Any = client.keys("holdfast:*")
        assert sorted(left) == [
            f"holdfast:presence:{{{topic}}}".encode(),
            f"holdfast:presence:{{{topic}}}:ended:one".encode(),
        ]
        assert all(0 < client.ttl(key) <= 3600 for key in left)


def test_all_keys_of_a_script_are_in_one_slot() -> None:
    names = PresenceKeys("holdfast")
    for topic in ("rooms/lobby", "a{b}c", "}{", "{}", "räume/küche", "100%7D"):
        keys = [*names.change(topic, "one"), *names.read(topic), names.by(topic, "one")]
        assert len({key_slot(key.encode()) for key in keys}) == 1, topic
    assert len({names.mark(topic) for topic in ("a{", "a%7B", "a%257B")}) == 3
    assert len({key_slot(key.encode()) for key in (names.leases, names.ended, names.topics("one"))}) == 1


@pytest.mark.parametrize("before", [[], ["ada"], ["ada", "grace"]], ids=["no-member", "one-left", "members"])
async def test_a_write_after_redis_has_lost_everything_is_refused(
    store: RedisPresence, redis_server: RedisServer, before: list[str]
) -> None:
    """Its lease is lost too, before the server finds out. If the server were killed now, no other server would find the member."""
    one = await lease(store, "one")
    await enter(store, one, *before)
    if before == ["ada"]:
        await store.change(one, [Write(topic=TOPIC, leaving=("ada",))])
    redis_server.flush()
    assert await store.change(one, [Write(topic=TOPIC, entering={"linus": info("linus")})]) == [None]
    assert await here(store) == set()


async def test_a_topic_can_be_emptied_and_entered_in_one_batch(store: RedisPresence) -> None:
    one = await lease(store, "one")
    await enter(store, one, "ada")
    writes = [Write(topic=TOPIC, leaving=("ada",)), Write(topic=TOPIC, entering={"grace": info("grace")})]
    assert all(await store.change(one, writes))
    assert all(await store.change(one, writes[::-1]))
    assert await here(store) == {"grace"}


async def test_a_write_without_an_answer_can_be_made_again(
    store: RedisPresence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have removed the last member, which is no loss of memory."""
    one = await lease(store, "one")
    await enter(store, one, "ada")
    call = store._all

    async def without_answer(calls: Any) -> Any:
        await call(calls)
        raise PresenceUnavailable("the answer was lost")

    monkeypatch.setattr(store, "_all", without_answer)
    with pytest.raises(PresenceUnavailable):
        await store.change(one, [Write(topic=TOPIC, leaving=("ada",))])
    monkeypatch.setattr(store, "_all", call)
    assert all(await store.change(one, [Write(topic=TOPIC, entering={"ada": info("ada")})]))
    assert await here(store) == {"ada"}


async def test_many_members_are_cleared_in_parts(store: RedisPresence) -> None:
    one = await lease(store, "one")
    await enter(store, one, *[str(number) for number in range(1200)])
    heard = Heard()
    await store.clear(one, heard)
    assert [len(change.left) for _, change in heard.changes] == [500, 500, 200]
    assert await here(store) == set()


async def test_the_documented_rights_are_enough(redis_server: RedisServer, redis_url: str) -> None:
    rights = ["~holdfast:*", "+@connection", "+@read", "+@write", "+@scripting", "+time"]
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "presence", "on", ">secret", *rights)
        store = store_at(redis_url.replace("redis://", "redis://presence:secret@"))
        await store.start()
        try:
            one = await lease(store, "one")
            await enter(store, one, "ada")
            assert (await store.refresh(one, SECONDS)).alive
            assert list(await store.marks([TOPIC])) != [""]
            assert await store.held(one, [TOPIC]) == [{"ada"}]
            assert (await asyncio.to_thread(store.members, TOPIC, 10, Heard())).count == 1
            await store.clear(one, Heard())
        finally:
            await store.stop()
            store._store.close()
            client.execute_command("ACL", "DELUSER", "presence")


async def test_an_error_names_the_redis_that_is_away(own_redis: RedisServer) -> None:
    store = store_at(own_redis.url)
    await store.start()
    try:
        own_redis.kill()
        with pytest.raises(PresenceUnavailable, match="Redis: ConnectionError"):
            await store.refresh("one", SECONDS)
        with pytest.raises(PresenceUnavailable):
            await asyncio.to_thread(store.members, TOPIC, 10, Heard())
    finally:
        await store.stop()


async def test_a_closed_connection_under_uvloop_counts_as_unavailable(
    store: RedisPresence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where asyncio raises an OSError; found by scripts/chaos, seed 3."""

    async def closed(*_: Any) -> Any:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    monkeypatch.setattr(store, "_many", closed)
    with pytest.raises(PresenceUnavailable, match="the handler is closed"):
        await store.refresh("one", SECONDS)


# ── hubs on Redis ────────────────────────────────────────────────────────────────────────────────────────────────────


class Fleet:
    """Servers of one process on one Redis."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.exchange = MemoryExchange()
        self.servers: list[Server] = []

    async def server(self, lease: float = 1.5) -> Server:
        timing = Timing(compare=0.3, lease=lease)
        made = Server(MemoryLog(), self.exchange, Inline(), timing, store_at(self.url))
        self.servers.append(await made.start())
        return made

    async def join(self, server: Server, member: str) -> Watcher:
        watcher = Watcher(member)
        await join(server.hub, watcher, TOPIC, durable=False, attending=attending(member))
        return watcher


async def until(expected: set[str], *watchers: Watcher, within: float = 5.0) -> None:
    """Poll, because the change happens in Redis."""
    for _ in range(round(within / 0.01)):
        if all(watcher.sees == expected for watcher in watchers):
            return
        await asyncio.sleep(0.01)
    assert [watcher.sees for watcher in watchers] == [expected] * len(watchers)


@pytest_asyncio.fixture
async def fleet(own_redis: RedisServer) -> AsyncIterator[Fleet]:
    made = Fleet(own_redis.url)
    yield made
    for server in made.servers:
        await server.hub.stop()


async def test_servers_see_each_others_members(fleet: Fleet) -> None:
    one, two = await fleet.server(), await fleet.server()
    ada, grace = await fleet.join(one, "ada"), await fleet.join(two, "grace")
    await until({"ada", "grace"}, ada, grace)
    assert grace.subscription is not None
    two.hub.leave(grace.subscription)
    await until({"ada"}, ada)


async def test_a_redis_that_was_restarted_empty_is_filled_again(fleet: Fleet, own_redis: RedisServer) -> None:
    one, two = await fleet.server(), await fleet.server()
    ada, grace = await fleet.join(one, "ada"), await fleet.join(two, "grace")
    await until({"ada", "grace"}, ada, grace)
    own_redis.kill()
    linus = await fleet.join(one, "linus")
    assert linus.sees == {"ada", "grace", "linus"}
    own_redis.start_again()
    await until({"ada", "grace", "linus"}, ada, grace, linus)
    store = store_at(own_redis.url)
    roster = await asyncio.to_thread(store.members, TOPIC, 10, Heard())
    assert set(roster.members or ()) == {"ada", "grace", "linus"}
    store._store.close()


async def test_cut_connections_lose_no_members(fleet: Fleet, own_redis: RedisServer) -> None:
    one, two = await fleet.server(), await fleet.server()
    ada, grace = await fleet.join(one, "ada"), await fleet.join(two, "grace")
    await until({"ada", "grace"}, ada, grace)
    own_redis.disconnect_everyone()
    linus = await fleet.join(two, "linus")
    await until({"ada", "grace", "linus"}, ada, grace, linus)
