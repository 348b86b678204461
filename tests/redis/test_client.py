"""The clients, blocking and asynchronous, against real servers of each kind."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator

import pytest
from redis import exceptions
from redis.exceptions import AuthenticationError, RedisError

from holdfast.redis.client import RedisStore
from tests.services.redis import RedisServer, running_redis


@pytest.fixture(params=["tcp", "socket", "password", "tls"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param in ("tcp", "socket"):
        server: RedisServer = request.getfixturevalue("redis_server")
        yield server.url if request.param == "tcp" else server.socket_url
    else:
        with running_redis(password="pass%2Fword", tls=request.param == "tls") as server:
            yield server.url.replace("%", "%25")


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    store = RedisStore(url)
    yield store
    store.close()


def test_the_blocking_client_speaks_with_it(store: RedisStore) -> None:
    client = store.client()
    client.set("store:test", b"\x00\xff")
    assert client.get("store:test") == b"\x00\xff"
    assert store.client() is client


async def test_the_asynchronous_client_speaks_with_it(store: RedisStore) -> None:
    client = store.aclient()
    try:
        await client.set("store:test", b"\x00\xff")
        assert await client.get("store:test") == b"\x00\xff"
    finally:
        await client.aclose()


def test_nothing_is_connected_before_it_is_needed() -> None:
    RedisStore("redis://nowhere.invalid/0")


def test_a_wrong_password_is_said_without_showing_it() -> None:
    with running_redis(password="right") as server:
        store = RedisStore(server.url.replace("right", "hunter2"))
        with pytest.raises(AuthenticationError) as refused:
            store.client().ping()
        assert "hunter2" not in f"{refused.value!r} {store.address!r}"


def test_the_database_of_the_url_is_used(redis_server: RedisServer) -> None:
    one, two = (RedisStore(redis_server.url.replace("/0", f"/{number}")) for number in (1, 2))
    one.client().set("only", "here")
    assert two.client().get("only") is None
    one.client().delete("only")
    one.close()
    two.close()


def test_many_threads_share_it(redis_url: str) -> None:
    store = RedisStore(redis_url)

    def count() -> None:
        for _ in range(100):
            store.client().incr("counted")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.client().get("counted") == b"800"
    store.close()


def test_a_forked_child_has_a_connection_of_its_own(redis_url: str) -> None:
    store = RedisStore(redis_url)
    mine = store.client().client_id()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            theirs = store.client().client_id()
            store.close()
            status = 0 if theirs != mine else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.client().client_id() == mine
    store.close()


def test_a_server_that_stands_still_is_given_up_in_time(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url + "?timeout=0.2")
    store.client().ping()
    own_redis.freeze()
    began = time.monotonic()
    with pytest.raises(exceptions.TimeoutError):
        store.client().ping()
    assert time.monotonic() - began < 1.5  # and not redis-py's own ten attempts
    own_redis.thaw()
    store.close()


async def test_the_asynchronous_client_gives_up_in_time_too(own_redis: RedisServer) -> None:
    client = RedisStore(own_redis.url).aclient(timeout=0.2)
    await client.ping()
    own_redis.freeze()
    async with asyncio.timeout(1.5):
        with pytest.raises(exceptions.TimeoutError):
            await client.ping()
    own_redis.thaw()
    await client.aclose()


COUNT_SLOWLY = """
redis.call("INCR", KEYS[1])
local began = redis.call("TIME")
repeat
    local now = redis.call("TIME")
until (now[1] - began[1]) * 1000000 + now[2] - began[2] > 500000
"""


@pytest.mark.parametrize("way", ["blocking", "asynchronous"])
async def test_a_command_whose_answer_comes_late_is_not_sent_again(own_redis: RedisServer, way: str) -> None:
    store = RedisStore(own_redis.url + "?timeout=0.3")
    client = store.aclient()
    run = {
        "blocking": lambda: asyncio.to_thread(store.client().eval, COUNT_SLOWLY, 1, "counted"),
        "asynchronous": lambda: client.eval(COUNT_SLOWLY, 1, "counted"),
    }[way]
    with pytest.raises(exceptions.TimeoutError):
        await run()
    with own_redis.client() as looking:
        assert looking.get("counted") == b"1"
    await client.aclose()
    store.close()


def test_after_a_restart_it_connects_again(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url)
    store.client().ping()
    own_redis.kill()
    with pytest.raises(RedisError):
        store.client().ping()
    own_redis.start_again()
    assert store.client().ping()
    store.close()
