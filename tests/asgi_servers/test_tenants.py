"""Tenants that have a PostgreSQL schema each, with the real django-tenants; users and sessions are in the schemas."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from tests.services.postgres import PostgresServer

from .client import Live
from .conftest import trouble
from .servers import GENEROUS, ROOT, SERVERS, Kind, Prepared, Running, User, environment_for, running

HOLDFAST = next(kind for kind in SERVERS if kind.name == "holdfast")
APP = "tests.asgi_servers.tenants.asgi:application"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.asgi_servers.tenants.settings"}

Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[dict[str, Any]]:
    name = f"tenants_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    yield {"ENGINE": "django_tenants.postgresql_backend", **postgres_server.django(name)}
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def users(database: dict[str, Any]) -> dict[str, User]:
    """A user of each tenant, by the tenant's schema."""
    found = json.loads(python("tests.asgi_servers.tenants.prepare", database=database))
    return {schema: User(**user) for schema, user in found.items()}


@pytest.fixture
def board() -> str:
    return f"b{uuid4().hex[:12]}"


def python(module: str, *arguments: str, database: dict[str, Any], **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**environment_for(Path("none"), databases={"default": database}), **SETTINGS, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or arguments, done.stderr
    return done.stdout + (done.stderr if arguments else "")


@pytest.fixture
def serve(database: dict[str, Any], users: dict[str, User], tmp_path: Path) -> Serve:
    @contextmanager
    def with_tenants(
        holdfast: dict[str, Any] | None = None, environment: dict[str, str] | None = None, **settings: Any
    ) -> Iterator[dict[str, Running]]:
        """The server as each of the two tenants sees it."""
        prepared = Prepared(database=tmp_path, users=users, databases={"default": database | settings})
        kind: Kind = replace(HOLDFAST, environment=SETTINGS | (environment or {}))
        with running(
            kind, prepared, tmp_path / "served", app=APP, holdfast=GENEROUS | (holdfast or {})
        ) as server:
            yield {schema: replace(server, host=f"{schema}.localhost") for schema in users}
            assert trouble(server) == []

    return with_tenants


def live(servers: dict[str, Running], schema: str, *, at: str | None = None) -> Live:
    """A browser with the cookie of one tenant, at the host of that one or another."""
    return Live(servers[at or schema], user=schema, host="127.0.0.1")


@pytest.mark.parametrize("pool", [False, {"min_size": 1, "max_size": 4, "timeout": 5}])
async def test_each_tenant_has_its_users_its_rows_and_its_topics(serve: Serve, board: str, pool: Any) -> None:
    with serve(OPTIONS={"pool": pool}) as servers:
        async with live(servers, "acme") as acme, live(servers, "globex") as globex:
            clients = {"acme": acme, "globex": globex}
            for schema, client in clients.items():
                assert (await client.join(f"{schema}/boards/{board}"))["payload"]["snapshot"] == []
            for name in ("add", "add_on_the_loop"):
                for schema, client in clients.items():
                    answer = await client.call(f"{schema}/boards/{board}", name, text=f"{schema} {name}")
                    assert answer["payload"] == f"ada-{schema}"
            await asyncio.to_thread(servers["globex"].get, f"note/{board}/")
            for schema, client in clients.items():
                texts = [f"{schema} add", f"{schema} add_on_the_loop"]
                events = await client.events(2)
                assert [event["payload"]["text"] for event in events] == texts
                async with live(servers, schema) as other:
                    joined = await other.join(f"{schema}/boards/{board}")
                    assert joined["payload"]["snapshot"] == texts
            assert (await globex.event())["payload"]["text"] == "from a view"


async def test_a_tenants_topics_are_closed_to_others(serve: Serve) -> None:
    with serve() as servers:
        async with live(servers, "acme") as acme:
            assert (await acme.join("globex/boards/plans"))["payload"]["code"] == "forbidden"
        async with live(
            servers, "acme", at="globex"
        ) as stranger:  # one tenant's cookie means nothing at another
            assert (await stranger.hello())["payload"].get("user") is None
            assert (await stranger.join("globex/boards/plans"))["payload"]["code"] == "forbidden"
        unknown = replace(servers["acme"], host="initech.localhost")
        with pytest.raises(InvalidStatus, match="403"):
            async with Live(unknown, user="acme", host="127.0.0.1"):
                pass


async def test_users_are_rechecked_in_their_own_schema(serve: Serve, board: str) -> None:
    with serve(holdfast={"REAUTHORIZE_SECONDS": 0.2}) as servers:
        async with live(servers, "acme") as acme, live(servers, "globex") as globex:
            for schema, client in (("acme", acme), ("globex", globex)):
                await client.join(f"{schema}/boards/{board}")
            await asyncio.sleep(2.5)
            for schema, client in (("acme", acme), ("globex", globex)):
                answer = await client.call(f"{schema}/boards/{board}", "add", text="still here")
                assert answer["payload"] == f"ada-{schema}"


@pytest.mark.parametrize("age", [0, None])
async def test_a_schema_that_a_handler_chose_ends_with_it(serve: Serve, age: int | None) -> None:
    context = {"LIVE_CONTEXT": ""}
    with serve(holdfast={"HANDLER_THREADS": 1}, environment=context, CONN_MAX_AGE=age) as servers:
        async with Live(servers["acme"], user=None, host="127.0.0.1") as client:
            await client.join("desk")
            await client.call("desk", "choose", schema="globex")
            assert (await client.call("desk", "where"))["payload"] == ["public", "public"]


def messages(database: dict[str, Any], **environment: str) -> str:
    return python("django", "check", database=database, **environment)


def test_the_checks_report_where_tables_belong_and_what_users_need(database: dict[str, Any]) -> None:
    good = messages(database)
    assert "holdfast.E008" not in good
    assert "holdfast.W011" not in good
    assert "(holdfast.W012) Each tenant numbers its own users (auth.User)" in good
    wrong = messages(database, LIVE_OURS="tenants", LIVE_CONTEXT="")
    assert '(holdfast.E008) "holdfast" is among the apps of tenants' in wrong
    assert (
        "(holdfast.W011) The tables of django.contrib.auth and django.contrib.sessions are in the schemas"
        in wrong
    )
