"""The log in Redis: the contract, and its promises beyond it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from holdfast.conf import Settings
from holdfast.log.base import Draft, LogUnavailable, Trimmed
from holdfast.log.calls import Answer, Claim
from holdfast.log.database_calls import DatabaseCalls
from holdfast.log.redis import RedisLog
from holdfast.log.redis_calls import RedisCalls
from holdfast.protocol.positions import Position
from holdfast.redis.client import RedisStore
from holdfast.wiring import build_log
from tests.guarantees.workers import working
from tests.log.contract import LogContract
from tests.log.events import drafts, numbers
from tests.log.transactions import Reports, rolled_back
from tests.services.redis import RedisServer
from tests.services.redis_cluster import Cluster

KEYS = "holdfast:log:{%s}"


@pytest.mark.django_db(transaction=True)
class TestRedisLog(LogContract):
    @pytest.fixture
    def log(self, redis_url: str) -> Iterator[RedisLog]:
        store = RedisStore(redis_url)
        yield RedisLog(store, calls=DatabaseCalls())
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

    def test_events_of_a_commit_that_redis_did_not_take_are_reported_as_lost(
        self, own_redis: RedisServer, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        log, reports = RedisLog(RedisStore(own_redis.url), calls=DatabaseCalls()), Reports()
        with transaction.atomic():
            log.stage(drafts(topic, 1, 2), reports)
            own_redis.stop()

        assert reports.calls == []
        assert f"2 events of {topic} are lost" in caplog.text

    def test_what_a_transaction_published_is_appended_together(self, log: RedisLog, topic: str) -> None:
        kept = Reports()
        with transaction.atomic():
            for n in range(300):
                log.stage(drafts(f"{topic}/{n}", n), kept)
                with rolled_back("default"):
                    log.stage(drafts(f"{topic}/{n}", -1), kept)

        assert [len(batches) for batches in kept.calls] == [300]
        assert numbers(log, f"{topic}/299") == [299]

    def test_a_redis_that_is_away_is_unavailable(self, own_redis: RedisServer, topic: str) -> None:
        log = RedisLog(RedisStore(own_redis.url), calls=DatabaseCalls())
        log.append(drafts(topic, 1))
        own_redis.stop()
        for use in (
            lambda: log.append(drafts(topic, 2)),
            lambda: log.heads([topic]),
            lambda: log.read(topic, Position(epoch="k", offset=0), 1),
            log.topics,
        ):
            with pytest.raises(LogUnavailable, match="Redis does not answer"):
                use()


@pytest.mark.django_db(transaction=True)
class TestInACluster(LogContract):
    """The whole contract again: every script keeps to one node."""

    @pytest.fixture
    def log(self, redis_cluster: Cluster) -> Iterator[RedisLog]:
        store = RedisStore(redis_cluster.url)
        client: Any = store.client()
        client.flushall(target_nodes=client.PRIMARIES)
        yield RedisLog(store, calls=DatabaseCalls())
        store.close()


@pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
class TestAnswersToCalls:
    """The store of call records that a log in Redis comes with."""

    def test_an_answer_commits_with_its_effects_even_if_the_process_dies_then(self, redis_url: str) -> None:
        chosen = Settings(log="redis", redis=redis_url)
        with working(1) as (author,):
            calls = build_log(chosen).calls
            author.begin(calls.alias)
            assert author.do(calls.claim, "ada", "1", "post", seconds=0).mine
            author.do(calls.answer, "ada", "1", Answer(payload=b"1"))
            author.commit_and_die(calls.alias)

        assert build_log(chosen).calls.claim("ada", "1", "post", seconds=60) == Claim(
            answer=Answer(payload=b"1")
        )

    def test_without_a_database_for_its_tables_the_answers_are_in_redis(self, redis_url: str) -> None:
        class Refusing:
            def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
                return False if app_label == "holdfast" else None

        chosen = Settings(log="redis", redis=redis_url)
        assert isinstance(build_log(chosen).calls, DatabaseCalls)
        with override_settings(DATABASE_ROUTERS=[Refusing()]):
            assert isinstance(build_log(chosen).calls, RedisCalls)
