"""The pytest plugin: options, and the servers and databases as fixtures (tests/README.md explains how to use them)."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from django.conf import settings
from django.db import connections
from django.test import SimpleTestCase
from pytest_django.plugin import DjangoDbBlocker

from tests.services.databases import EACH_DATABASE, aliases_of, allow_all_again
from tests.services.postgres import IN_A_HURRY, PostgresServer, find_initdb, running_postgres
from tests.services.processes import MissingProgram, find_chromium, find_program
from tests.services.redis import RedisServer, running_redis
from tests.services.redis_cluster import Cluster, running_cluster
from tests.services.redis_sentinel import Watched, running_sentinels

LEFT_OUT = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("holdfast")
    group.addoption(
        "--allow-missing",
        action="store_true",
        help="skip what needs a program that is not on this machine; without it such tests fail",
    )
    group.addoption(
        "--database",
        choices=["sqlite", "postgres"],
        default="sqlite",
        help="what the alias `default` is (default: sqlite); parametrised suites run on both in any case",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under --allow-missing without PostgreSQL, leave out the tests on its alias.

    A skip would come too late: all databases of the selected tests are created before the first test on any.
    """
    if not config.getoption("--allow-missing"):
        return
    try:
        find_initdb()
    except MissingProgram as error:
        without = [item for item in items if "postgres" not in aliases_of([item])]
        left_out = [item for item in items if "postgres" in aliases_of([item])]
        config.stash[LEFT_OUT] = f"{len(left_out)} tests on PostgreSQL left out: {error}"
        config.hook.pytest_deselected(items=left_out)
        items[:] = without


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        # A class of Django's is cleared at its end.
        if not issubclass(getattr(item, "cls", None) or object, SimpleTestCase):
            allow_all_again()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if note := config.stash.get(LEFT_OUT, None):
        terminalreporter.write_line(note, yellow=True)


def missing(config: pytest.Config, error: MissingProgram) -> NoReturn:
    """Skip under --allow-missing, fail otherwise."""
    if config.getoption("--allow-missing"):
        pytest.skip(str(error))
    pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run. Ask for `postgres_dsn` to get an empty database on it."""
    try:
        with running_postgres(**IN_A_HURRY) as server:
            yield server
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test's own, for processes that migrate it themselves."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis server for the whole run: not to be stopped. A test that stops one asks for `own_redis`."""
    try:
        with running_redis() as server:
            yield server
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the run's Redis server, emptied; with the user of ``HOLDFAST_REDIS_ACL`` if that names its rules."""
    redis_server.flush()
    rules = os.environ.get("HOLDFAST_REDIS_ACL")
    if rules is None:
        return redis_server.url
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules.split())
    return f"redis://limited:secret@127.0.0.1:{redis_server.port}/0"


@pytest.fixture
def own_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis server of this test's own, to be stopped, killed and started again."""
    try:
        with running_redis() as server:
            yield server
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture(scope="session")
def redis_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A Redis Cluster of three nodes for the whole run: not to be changed."""
    try:
        with running_cluster() as cluster:
            yield cluster
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture
def own_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A Redis Cluster of this test's own, three primaries and a replica each."""
    try:
        with running_cluster(replicas=True) as cluster:
            yield cluster
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture
def own_sentinels(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A primary, its replica and three sentinels of this test's own."""
    try:
        with running_sentinels() as watched:
            yield watched
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture(scope="session")
def nginx_program(request: pytest.FixtureRequest) -> Path:
    try:
        return find_program("nginx", package="nginx")
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture(scope="session")
def chromium_program(request: pytest.FixtureRequest) -> Path:
    """Debian's Chromium, for Playwright's `executable_path`."""
    try:
        return find_chromium()
    except MissingProgram as error:
        missing(request.config, error)


@pytest.fixture(params=EACH_DATABASE)
def database(request: pytest.FixtureRequest) -> str:
    """Run the test on SQLite and on PostgreSQL: the alias, for `using=`. The tables are there and empty."""
    alias: str = request.param
    return alias


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Say where the databases are, just before they are created; start PostgreSQL if a selected test is on it.

    Each xdist worker has a temporary directory and a server of its own, so names need no suffix.
    """
    databases = settings.DATABASES
    if request.config.getoption("--database") == "postgres":
        databases["default"].update(
            databases["postgres"], NAME="default", TEST=dict(databases["postgres"]["TEST"])
        )
        # Defining models asked the alias for its limits, so its connection exists, and is SQLite's.
        del connections["default"]
    directory = tmp_path_factory.mktemp("databases")
    aliases = aliases_of(request.session.items)
    for alias, entry in databases.items():
        if entry["ENGINE"].endswith("sqlite3"):
            entry["TEST"]["NAME"] = str(directory / f"{alias}.sqlite3")
        elif alias in aliases:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            entry.update(server.django(alias))


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """As pytest-django's, but a connection that a worker thread still holds does not keep PostgreSQL's from being dropped."""
    yield
    if any(entry.get("HOST") for entry in settings.DATABASES.values()):
        with django_db_blocker.unblock():
            request.getfixturevalue("postgres_server").disconnect_everyone()
