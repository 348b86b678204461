"""The stores that the contract suite runs over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from holdfast.presence.base import PresenceStore
from holdfast.presence.memory import MemoryPresence
from holdfast.presence.redis import RedisPresence
from holdfast.stores.redis import RedisStore


class Stores:
    """Several servers' stores on one place, whose time can be moved on."""

    def __init__(self, make: Callable[[], PresenceStore], expire: Callable[[], Any]) -> None:
        self._make = make
        self.expire = expire
        self.made: list[PresenceStore] = []

    async def new(self) -> PresenceStore:
        store = self._make()
        await store.start()
        self.made.append(store)
        return store


@pytest_asyncio.fixture(params=["memory", "redis"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """``expire()`` lets all leases that were opened or refreshed up to now end."""
    if request.param == "memory":
        now = [0.0]
        shared = MemoryPresence(lambda: now[0])

        def forward() -> None:
            now[0] += 60

        found = Stores(lambda: shared, forward)
    else:
        server = request.getfixturevalue("redis_server")
        url = request.getfixturevalue("redis_url")

        def overdue() -> None:
            with server.client() as client:
                for lease in client.zrange("holdfast:leases:{leases}", 0, -1):
                    client.zadd("holdfast:leases:{leases}", {lease: 1})
                for lease in client.zrange("holdfast:leases:{leases}:ended", 0, -1):
                    client.zadd("holdfast:leases:{leases}:ended", {lease: 1})

        found = Stores(lambda: RedisPresence(RedisStore(url)), overdue)
    yield found
    for store in found.made:
        await store.stop()
    await asyncio.sleep(0)
