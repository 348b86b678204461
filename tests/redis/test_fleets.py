"""The clients against sentinels and a cluster."""

import asyncio
import time

import pytest
from redis.exceptions import RedisError

from holdfast.redis.client import RedisStore
from tests.services.redis_cluster import Cluster
from tests.services.redis_sentinel import Watched

pytestmark = pytest.mark.slow


async def test_the_clients_follow_the_primary(own_sentinels: Watched) -> None:
    store = RedisStore(own_sentinels.url + "&timeout=0.5")
    asynchronous = store.aclient()
    assert store.client().set("who", "first")
    assert await asynchronous.get("who") == b"first"
    own_sentinels.primary().kill()
    written = 0
    async with asyncio.timeout(30):
        while written < 2:
            try:
                written = await asynchronous.incr("written")
                written = await asyncio.to_thread(store.client().incr, "written")
            except RedisError:
                await asyncio.sleep(0.05)
    await asynchronous.aclose()
    store.close()


async def test_the_clients_find_every_node_of_a_cluster(redis_cluster: Cluster) -> None:
    store = RedisStore(redis_cluster.url.partition(",")[0])  # one node is enough
    asynchronous = store.aclient()
    assert store.clustered
    for number in range(30):
        store.client().set(f"key:{number}", str(number))
    assert [await asynchronous.get(f"key:{number}") for number in range(30)] == [
        b"%d" % number for number in range(30)
    ]
    await asynchronous.aclose()
    store.close()


def test_a_node_that_dies_costs_errors_for_a_bounded_time(own_cluster: Cluster) -> None:
    store = RedisStore(own_cluster.url + "?timeout=0.5")
    store.client().set("key", "before")
    own_cluster.owner("key").kill()
    deadline = time.monotonic() + 30
    while True:
        began = time.monotonic()
        try:
            store.client().set("key", "after")
            break
        except RedisError:
            assert time.monotonic() - began < 10
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert store.client().get("key") == b"after"
    store.close()
