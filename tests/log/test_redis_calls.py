"""Call records in Redis: the contract, and the promises beyond it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from holdfast.log.base import LogUnavailable
from holdfast.log.calls import Answer
from holdfast.log.redis_calls import RedisCalls
from holdfast.redis.client import RedisStore
from tests.log.call_contract import CallContract
from tests.log.transactions import rolled_back
from tests.services.databases import in_threads
from tests.services.redis import RedisServer
from tests.services.redis_cluster import Cluster


@pytest.mark.django_db(transaction=True)
class TestRedisCalls(CallContract):
    @pytest.fixture
    def calls(self, redis_url: str) -> Iterator[RedisCalls]:
        store = RedisStore(redis_url)
        yield RedisCalls(store)
        store.close()

    def test_owners_and_keys_of_calls_are_not_mixed_up(self, calls: RedisCalls) -> None:
        assert calls.claim("a:b", "c", "post", seconds=60).mine
        assert calls.claim("a", "b:c", "post", seconds=60).mine

    def test_calls_expire_by_themselves(self, redis_url: str, redis_server: RedisServer) -> None:
        calls = RedisCalls(RedisStore(redis_url), answer_seconds=1000)
        calls.claim("ada", "1", "post", seconds=50)
        calls.answer("ada", "1", Answer(payload=b"1"))

        with redis_server.client() as client:
            (call,) = [key for key in client.keys("holdfast:calls:*") if client.type(key) == b"hash"]
            assert 1000 < client.ttl(call) <= 1050  # type: ignore[operator]

    def test_an_answer_is_kept_only_when_the_transaction_commits(self, calls: RedisCalls) -> None:
        with transaction.atomic():
            calls.claim("ada", "1", "post", seconds=60)
            calls.answer("ada", "1", Answer(payload=b"1"))
            assert calls.claim("ada", "1", "post", seconds=60).running

        assert calls.claim("ada", "1", "post", seconds=60).answer == Answer(payload=b"1")

    def test_a_claim_given_back_in_a_transaction_is_not_given_back_again(self, calls: RedisCalls) -> None:
        """Its rollback must not remove the claim that another process has made since."""
        other = RedisCalls(calls._store)
        with rolled_back("default"):
            calls.claim("ada", "1", "post", seconds=60)
            calls.release("ada", "1")
            in_threads([lambda: other.claim("ada", "1", "post", seconds=60)])

        assert calls.claim("ada", "1", "post", seconds=60).running

    def test_a_redis_that_is_away_is_unavailable(self, own_redis: RedisServer) -> None:
        calls = RedisCalls(RedisStore(own_redis.url))
        calls.claim("ada", "1", "post", seconds=60)
        own_redis.stop()

        with pytest.raises(LogUnavailable, match="Redis does not answer"):
            calls.claim("ada", "2", "post", seconds=60)
        with pytest.raises(LogUnavailable, match="Redis does not answer"):
            calls.answer("ada", "1", Answer(payload=b"1"))


@pytest.mark.django_db(transaction=True)
class TestInACluster(CallContract):
    """The whole contract again: every script keeps to one node."""

    @pytest.fixture
    def calls(self, redis_cluster: Cluster) -> Iterator[RedisCalls]:
        store = RedisStore(redis_cluster.url)
        client: Any = store.client()
        client.flushall(target_nodes=client.PRIMARIES)
        yield RedisCalls(store)
        store.close()
