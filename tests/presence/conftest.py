"""The stores that the contract suite runs over."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from holdfast.presence.base import PresenceStore
from holdfast.presence.memory import MemoryPresence
from holdfast.presence.redis import RedisPresence
from holdfast.redis.client import RedisStore
from tests.services.redis_cluster import Cluster


class Stores:
    """The stores of several servers on one backend, whose time can be advanced."""

    def __init__(self, make: Callable[[], PresenceStore], expire: Callable[[], Any]) -> None:
        self._make = make
        self.expire = expire
        self.made: list[PresenceStore] = []

    async def new(self) -> PresenceStore:
        store = self._make()
        await store.start()
        self.made.append(store)
        return store


@pytest_asyncio.fixture(params=["memory", "redis", "redis-cluster"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """``expire()`` lets all leases that were opened or refreshed up to now end."""
    if request.param == "memory":
        now = [0.0]
        shared = MemoryPresence(lambda: now[0])

        def forward() -> None:
            now[0] += 60

        found = Stores(lambda: shared, forward)
    else:
        url = _empty_redis(request)
        place = RedisStore(url)

        def overdue() -> None:
            client: Any = place.client()
            for key in ("holdfast:leases:{leases}", "holdfast:leases:{leases}:ended"):
                for lease in client.zrange(key, 0, -1):
                    client.zadd(key, {lease: 1})

        found = Stores(lambda: RedisPresence(RedisStore(url)), overdue)
        request.addfinalizer(place.close)
    yield found
    for store in found.made:
        await store.stop()
        if isinstance(store, RedisPresence):
            store._store.close()


def _empty_redis(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")
        return url
    cluster: Cluster = request.getfixturevalue("redis_cluster")
    for server in cluster.servers:
        server.flush()
    return cluster.url
