"""Real servers and databases that other tests use."""

import subprocess
import sys

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction

from tests.services.databases import in_threads
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer


def test_processes_keep_the_modules_that_they_compile() -> None:
    says = [sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)"]
    assert subprocess.run(says, capture_output=True, text=True, check=True).stdout == "False\n"
    assert not sys.dont_write_bytecode


def test_each_database_is_the_real_thing_with_its_migrations_run(database: str) -> None:
    assert connections[database].vendor == {"sqlite": "sqlite", "postgres": "postgresql"}[database]
    assert not connections[database].is_in_memory_db() if database == "sqlite" else True
    assert Group.objects.using(database).count() == 0


def test_threads_write_over_connections_of_their_own(database: str) -> None:
    def write(number: int) -> int:
        with transaction.atomic(using=database):
            Group.objects.using(database).create(name=f"group {number}")
        return id(connections[database].connection)

    used = in_threads([lambda number=number: write(number) for number in range(8)])

    assert len(set(used)) > 1
    assert Group.objects.using(database).count() == 8


def test_an_error_in_a_thread_reaches_the_test() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads([lambda: 1, lambda: 1 / 0])


def test_a_process_gets_an_empty_postgres_database(
    postgres_server: PostgresServer, postgres_dsn: str
) -> None:
    import psycopg

    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() == (0,)
        assert connection.execute("SHOW fsync").fetchone() == ("off",)


def test_redis_comes_back_on_its_port_after_a_kill(own_redis: RedisServer) -> None:
    port = own_redis.port
    own_redis.kill()
    assert not own_redis.answers()

    own_redis.start_again()

    assert own_redis.answers()
    assert own_redis.port == port


def test_the_shared_redis_is_empty(redis_url: str, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.dbsize() == 0


def test_the_default_database_is_the_one_that_was_asked_for(request: pytest.FixtureRequest, db: None) -> None:
    asked = {"sqlite": "sqlite", "postgres": "postgresql"}[request.config.getoption("--database")]
    assert connection.vendor == asked
