"""The log in Redis: the contract, and what it promises beyond it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from holdfast.log.base import Answer, Draft, LogUnavailable, Trimmed
from holdfast.log.redis import RedisLog
from holdfast.protocol.positions import Position
from holdfast.redis.client import RedisStore
from tests.log.contract import LogContract
from tests.log.events import drafts, numbers
from tests.log.transactions import Reports, rolled_back
from tests.services.databases import in_threads
from tests.services.redis import RedisServer
from tests.services.redis_cluster import Cluster

KEYS = "holdfast:log:{%s}"


@pytest.mark.django_db(transaction=True)
class TestRedisLog(LogContract):
    @pytest.fixture
    def log(self, redis_url: str) -> Iterator[RedisLog]:
        store = RedisStore(redis_url)
        yield RedisLog(store)
        store.close()

    def test_it_needs_threads_and_is_shared(self, log: RedisLog) -> None:
        assert log.blocking
        assert log.shared

    def test_a_flushed_redis_is_another_log(
        self, log: RedisLog, topic: str, redis_server: RedisServer
    ) -> None:
        (before,) = log.append(drafts(topic, 1, 2))
        redis_server.flush()

        (after,) = log.append(drafts(topic, 3))

        assert after.epoch != before.epoch
        assert numbers(log, topic) == [3]
        assert log.topics() == [topic]
        with pytest.raises(Trimmed):
            log.read(topic, Position(epoch=before.epoch, offset=1), 10)

    @pytest.mark.parametrize("lost", ["", ":entries"], ids=["state", "entries"])
    def test_a_topic_of_which_redis_has_evicted_half_is_another_log(
        self, log: RedisLog, topic: str, lost: str, redis_server: RedisServer
    ) -> None:
        (before,) = log.append(drafts(topic, 1, 2))
        with redis_server.client() as client:
            assert client.delete(KEYS % topic + lost) == 1

        head = log.heads([topic])[topic]

        assert head.epoch != before.epoch
        assert head.floor == head.offset
        (after,) = log.append(drafts(topic, 3))
        assert (after.epoch, after.entries[0].offset) == (head.epoch, head.offset + 1)
        assert numbers(log, topic) == [3]

    def test_scripts_that_redis_has_forgotten_are_sent_again(
        self, log: RedisLog, topic: str, redis_server: RedisServer
    ) -> None:
        log.append(drafts(topic, 1))
        with redis_server.client() as client:
            client.script_flush()
        log.append([*drafts(f"{topic}/a", 1), *drafts(f"{topic}/b", 2)])
        with redis_server.client() as client:
            client.script_flush()

        assert numbers(log, topic) == [1]
        assert numbers(log, f"{topic}/b") == [2]

    def test_a_batch_over_several_topics_is_written_whole_or_not_at_all(
        self, log: RedisLog, topic: str, redis_server: RedisServer
    ) -> None:
        a, b = f"{topic}/a", f"{topic}/b"
        log.append([*drafts(a, 1), *drafts(b, 1)])
        with redis_server.client() as client:
            used: Any = client.info("memory")["used_memory"]
            client.config_set("maxmemory", used)
            try:
                with pytest.raises(LogUnavailable, match="OutOfMemory"):
                    log.append([*drafts(a, 2), Draft(topic=b, name="n", payload=b"x" * 1_000_000)])
            finally:
                client.config_set("maxmemory", 0)

        assert numbers(log, a) == [1]
        assert numbers(log, b) == [1]

    def test_a_topic_s_name_may_hold_anything(self, log: RedisLog) -> None:
        names = ["a{b}c", "{}", "}{", "a%7Bb%7Dc", "a b:entries", "ü🪸", "a"]
        for number, name in enumerate(names):
            log.append(drafts(name, number))

        assert [numbers(log, name) for name in names] == [[n] for n in range(len(names))]
        assert log.topics() == sorted(names)

    def test_owners_and_keys_of_calls_are_not_mixed_up(self, log: RedisLog) -> None:
        assert log.claim("a:b", "c", "post", seconds=60).mine
        assert log.claim("a", "b:c", "post", seconds=60).mine

    def test_calls_expire_by_themselves(self, redis_url: str, redis_server: RedisServer) -> None:
        log = RedisLog(RedisStore(redis_url), answer_seconds=1000)
        log.claim("ada", "1", "post", seconds=50)
        log.answer("ada", "1", Answer(payload=b"1"))

        with redis_server.client() as client:
            (call,) = [key for key in client.keys("holdfast:calls:*") if client.type(key) == b"hash"]
            assert 1000 < client.ttl(call) <= 1050  # type: ignore[operator]

    def test_an_answer_is_kept_only_when_the_transaction_commits(self, log: RedisLog) -> None:
        with transaction.atomic():
            log.claim("ada", "1", "post", seconds=60)
            log.answer("ada", "1", Answer(payload=b"1"))
            assert log.claim("ada", "1", "post", seconds=60).running

        assert log.claim("ada", "1", "post", seconds=60).answer == Answer(payload=b"1")

    def test_a_claim_given_back_in_a_transaction_is_not_given_back_again(self, log: RedisLog) -> None:
        """Its rollback must not take away what somebody else has claimed since."""
        other = RedisLog(log._store)
        with rolled_back("default"):
            log.claim("ada", "1", "post", seconds=60)
            log.release("ada", "1")
            in_threads([lambda: other.claim("ada", "1", "post", seconds=60)])

        assert log.claim("ada", "1", "post", seconds=60).running

    def test_events_of_a_commit_that_redis_did_not_take_are_reported_as_lost(
        self, own_redis: RedisServer, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        log, reports = RedisLog(RedisStore(own_redis.url)), Reports()
        with transaction.atomic():
            log.enlist(drafts(topic, 1, 2), reports)
            own_redis.stop()

        assert reports.calls == []
        assert f"2 events of {topic} are lost" in caplog.text

    def test_what_a_transaction_published_is_appended_together(self, log: RedisLog, topic: str) -> None:
        kept = Reports()
        with transaction.atomic():
            for n in range(300):
                log.enlist(drafts(f"{topic}/{n}", n), kept)
                with rolled_back("default"):
                    log.enlist(drafts(f"{topic}/{n}", -1), kept)

        assert [len(batches) for batches in kept.calls] == [300]
        assert numbers(log, f"{topic}/299") == [299]

    def test_a_redis_that_is_away_is_unavailable(self, own_redis: RedisServer, topic: str) -> None:
        log = RedisLog(RedisStore(own_redis.url))
        log.append(drafts(topic, 1))
        own_redis.stop()
        for use in (
            lambda: log.append(drafts(topic, 2)),
            lambda: log.heads([topic]),
            lambda: log.read(topic, Position(epoch="k", offset=0), 1),
            lambda: log.claim("ada", "1", "post", seconds=1),
            log.topics,
        ):
            with pytest.raises(LogUnavailable, match="Redis does not answer"):
                use()


@pytest.mark.django_db(transaction=True)
class TestInACluster(LogContract):
    """All of the contract again: every script keeps to one node."""

    @pytest.fixture
    def log(self, redis_cluster: Cluster) -> Iterator[RedisLog]:
        store = RedisStore(redis_cluster.url)
        client: Any = store.client()
        client.flushall(target_nodes=client.PRIMARIES)
        yield RedisLog(store)
        store.close()
