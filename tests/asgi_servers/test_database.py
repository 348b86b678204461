"""Connections of a real server process to PostgreSQL: with Django's pool, and when they are lost."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.services.postgres import PostgresServer

from .client import Live
from .conftest import trouble
from .servers import GENEROUS, SERVERS, Prepared, Running, running

HOLDFAST = next(kind for kind in SERVERS if kind.name == "holdfast")

Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def prepared(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    name = f"served_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    own = {"ENGINE": "django.db.backends.postgresql", **postgres_server.django(name)}
    yield Prepared.make(tmp_path_factory.mktemp("prepared"), {"default": own})
    postgres_server.drop_database(name)


@pytest.fixture
def serve(prepared: Prepared, tmp_path: Path) -> Serve:
    """Serves the project on a PostgreSQL database; the arguments are entries of `DATABASES["default"]`."""

    @contextmanager
    def on_postgres(holdfast: dict[str, Any] | None = None, **settings: Any) -> Iterator[Running]:
        assert prepared.databases is not None
        served = replace(prepared, databases={"default": prepared.databases["default"] | settings})
        with running(HOLDFAST, served, tmp_path / "served", holdfast=GENEROUS | (holdfast or {})) as server:
            yield server

    return on_postgres


def room() -> str:
    return f"r{uuid4().hex[:12]}"


@pytest.mark.parametrize("kind", ["rooms", "asynchronous"])
async def test_a_pool_smaller_than_the_threads_serves_clients_and_the_site(serve: Serve, kind: str) -> None:
    pool = {"min_size": 1, "max_size": 4, "timeout": 5}
    with serve(OPTIONS={"pool": pool}) as server:
        async with AsyncExitStack() as stack:
            clients = [Live(server) for _ in range(12)]
            await asyncio.gather(*map(stack.enter_async_context, clients))
            topics = [f"{kind}/{room()}" for _ in clients]
            pairs = list(zip(clients, topics, strict=True))
            joins = await asyncio.gather(*[client.join(topic) for client, topic in pairs])
            assert {join["type"] for join in joins} == {"joined"}
            for _ in range(3):
                calls = await asyncio.gather(
                    *[client.call(topic, "say", text="hi") for client, topic in pairs]
                )
                assert {call["type"] for call in calls} == {"result"}
            assert await asyncio.to_thread(server.get, "me/", "ada") == "ada"
        for _ in range(8):
            assert await asyncio.to_thread(server.get, "me/", "ada") == "ada"
        assert trouble(server) == []


async def test_async_handlers_come_back_after_the_database_cut_their_connections(
    serve: Serve, postgres_server: PostgresServer
) -> None:
    with serve(CONN_MAX_AGE=None) as server:
        topic = f"asynchronous/{room()}"
        async with Live(server) as client:
            await client.join(topic)
            assert (await client.call(topic, "say", text="before"))["type"] == "result"
            postgres_server.disconnect_everyone()
            answers = [(await client.call(topic, "say", text="after"))["type"] for _ in range(8)]
            assert answers[-1] == "result", (
                "a connection that broke is dropped by the handler that finds it broken"
            )
        async with Live(server) as newcomer:
            assert (await newcomer.join(f"asynchronous/{room()}"))["type"] == "joined"


async def test_an_async_handler_has_one_connection_to_itself(serve: Serve) -> None:
    with serve() as server:
        topic = f"asynchronous/{room()}"
        async with Live(server) as client, Live(server) as other:
            await client.join(topic)
            await other.join(topic)
            answers = await asyncio.gather(*[one.call(topic, "connection") for one in (client, other)])
        used = [answer["payload"] for answer in answers]
        for first_thread, first_backend, thread, backend in used:
            assert (first_thread, first_backend) == (thread, backend)
        assert used[0] != used[1], "two handlers at once share neither thread nor connection"
