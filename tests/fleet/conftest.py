"""A fleet for one test, without a crowd: its servers run, its tables and users are there."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.fixtures import missing
from tests.services.postgres import PostgresServer
from tests.services.processes import MissingProgram, find_program
from tests.services.redis import RedisServer

from .chaos.fleet import DATABASE, Fleet, Services, Setup
from .chaos.orders import Orders, module, taking_orders
from .publishing.place import Place
from .tables import make_tables

Standing = Callable[..., contextlib.AbstractAsyncContextManager[tuple[Fleet, Orders, list[str]]]]
"""``standing(servers=3, users=2, **holdfast)``: the fleet, its bailiff, and the ids of its users."""


@pytest.fixture(scope="session")
def tables(postgres_server: PostgresServer) -> str:
    """The name of a database with the tables of the fleet's project, to be copied."""
    return make_tables(postgres_server)


@pytest.fixture
def place(
    postgres_server: PostgresServer, tables: str, own_redis: RedisServer, tmp_path: Path
) -> Iterator[Place]:
    name = f"place_{uuid.uuid4().hex[:12]}"
    made = Place(postgres_server.create_database(name, template=tables), postgres_server, own_redis, tmp_path)
    yield made
    made.end()
    postgres_server.drop_database(name)


@pytest.fixture
def standing(
    postgres_server: PostgresServer,
    tables: str,
    own_redis: RedisServer,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> Standing:
    try:
        services = Services(
            postgres=postgres_server, redis=own_redis, nginx=find_program("nginx", package="nginx")
        )
    except MissingProgram as error:
        missing(pytestconfig, error)

    @contextlib.asynccontextmanager
    async def one(
        *, servers: int, users: int, **holdfast: Any
    ) -> AsyncIterator[tuple[Fleet, Orders, list[str]]]:
        setup = Setup(servers=servers, writers=0, rooms=1, holdfast=holdfast)
        postgres_server.drop_database(DATABASE)
        postgres_server.create_database(DATABASE, template=tables)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(postgres_server.drop_database, DATABASE)
            fleet = await stack.enter_async_context(Fleet(setup, services, tmp_path, seed=0).standing())
            orders = taking_orders(
                "bailiff", module("tests.fleet.chaos.bailiff", str(tmp_path / "bailiff.jsonl")),
                directory=tmp_path, environment=fleet.direct,
            )  # fmt: skip
            bailiff = await stack.enter_async_context(orders)
            ids = await bailiff.ask("migrate", users)
            for server in fleet.servers:
                server.start()
            fleet.nginx.start()
            for server in fleet.servers:
                await server.wait_until_ready()
            yield fleet, bailiff, ids

    return one
