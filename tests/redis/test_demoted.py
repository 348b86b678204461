"""A primary that became a replica behind the name that the URL gives: its connections stay open, and it refuses writes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis import exceptions

from holdfast.backplane.redis import RedisBackplane
from holdfast.presence.base import PresenceUnavailable
from holdfast.presence.redis import RedisPresence
from holdfast.redis.client import RedisStore
from tests.backplane.ends import Receiver
from tests.fleet.chaos.proxy import Proxy
from tests.services.redis import RedisServer, running_redis

pytestmark = pytest.mark.slow


class Pair:
    """Two servers, and the one address under which the primary of the two is found."""

    def __init__(self, proxy: Proxy, old: RedisServer, new: RedisServer) -> None:
        self.proxy, self.old, self.new = proxy, old, new
        self.url = f"redis://127.0.0.1:{proxy.port}/0"

    def hand_over(self) -> None:
        """Hand over as managed services do: no connection is cut, and new ones lead to the other server."""
        with self.old.client() as client:
            client.replicaof("127.0.0.1", self.new.port)
        self.proxy.target = ("127.0.0.1", self.new.port)


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    with running_redis() as old, running_redis() as new:
        async with Proxy("redis", ("127.0.0.1", old.port)) as proxy:
            yield Pair(proxy, old, new)


async def test_presence_follows_the_name(pair: Pair) -> None:
    presence = RedisPresence(RedisStore(pair.url))
    await presence.start()
    await presence.open("one", 30.0)
    await asyncio.to_thread(pair.hand_over)
    with pytest.raises(PresenceUnavailable):
        await presence.open("two", 30.0)
    await presence.open("two", 30.0)
    assert (await presence.refresh("two", 30.0)).alive
    await presence.stop()


async def test_the_blocking_client_follows_the_name(pair: Pair) -> None:
    store = RedisStore(pair.url)

    def write() -> None:
        with pytest.raises(exceptions.ConnectionError, match="replica"):
            store.client().set("store:test", "1")
        store.client().set("store:test", "2")
        assert store.client().get("store:test") == b"2"

    await asyncio.to_thread(store.client().set, "store:test", "0")
    await asyncio.to_thread(pair.hand_over)
    await asyncio.to_thread(write)
    store.close()


async def test_a_sender_follows_the_name(pair: Pair) -> None:
    """A message that is published on a replica reaches no subscriber on the primary, and causes no error."""
    sender = await Receiver(RedisBackplane(RedisStore(pair.url), pulse=0.1)).start()
    sender.backplane.send("rooms/lobby", b"before")
    assert await asyncio.to_thread(sender.backplane.flush, 5)
    await asyncio.to_thread(pair.hand_over)
    receiver = await Receiver(RedisBackplane(RedisStore(pair.new.url))).start("rooms/lobby")
    await asyncio.sleep(0.2)
    sender.backplane.send("rooms/lobby", b"after")
    await receiver.has(("rooms/lobby", b"after"))
    await sender.backplane.stop()
    await receiver.backplane.stop()
