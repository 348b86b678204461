"""Calls that try to use up what others need of the server: its threads, its database, its log."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.asgi_servers.client import Live
from tests.asgi_servers.servers import Prepared
from tests.services.postgres import PostgresServer

from .server import Attacked, attacked

LONGEST_SECONDS = 0.5
"""Seconds that a well-behaved user's call may take on a busy machine. Without fairness, it takes as long as the attackers like."""


@pytest.fixture(scope="module")
def on_postgres(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prepared]:
    """On SQLite a sleeping action would hold the one lock of the database."""
    name = f"attacked_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    own = {"ENGINE": "django.db.backends.postgresql", **postgres_server.django(name)}
    yield Prepared.make(tmp_path_factory.mktemp("prepared"), {"default": own})
    postgres_server.drop_database(name)


@pytest.fixture
def target(on_postgres: Prepared, tmp_path: Path) -> Iterator[Attacked]:
    with attacked(tmp_path, on_postgres) as server:
        yield server


def room() -> str:
    return f"targets/r{uuid4().hex[:12]}"


async def rows(server: Attacked, topic: str) -> int:
    """Return how many rows the actions of a target have written."""
    async with Live(server.running, user="grace") as live:
        await live.join(topic)
        answer = await live.call(topic, "quick")
        return int(answer["payload"])


async def slowest(live: Live, topic: str, action: str, seconds: float) -> float:
    """Call for ``seconds``, and return the longest that an answer took."""
    end, longest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        began = time.monotonic()
        assert (await live.call(topic, action))["type"] == "result"
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.02)
    return longest


async def send_calls(
    server: Attacked, topic: str, count: int, action: str, keyed: bool, **arguments: Any
) -> None:
    """Open an anonymous connection that sends calls and is gone at once."""
    async with Live(server.running, user=None) as live:
        await live.join(topic)
        for number in range(count):
            key = {"key": f"{uuid4().hex}-{number}"} if keyed else {}
            await live.send(type="call", topic=topic, name=action, payload=arguments, **key)
        await live.request("leave", topic=topic)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("action", ["nap", "nap_async"])
async def test_calls_of_connections_that_are_gone_do_not_delay_others(
    target: Attacked, action: str, keyed: bool
) -> None:
    topic = room()
    async with Live(target.running) as ada:
        await ada.join(topic)
        await slowest(ada, topic, "quick", 0.3)
        await asyncio.gather(*[send_calls(target, topic, 32, action, keyed, seconds=1) for _ in range(8)])
        quick = "quick" if action == "nap" else "quick_async"
        longest = await slowest(ada, topic, quick, 2)
    assert longest < LONGEST_SECONDS


async def test_calls_that_timed_out_count_until_their_thread_ends(target: Attacked) -> None:
    topic = room()
    async with Live(target.running) as eve, Live(target.running, user="grace") as ada:
        await asyncio.gather(eve.join(topic), ada.join(topic))
        for number in range(32):
            await eve.send(type="call", ref=1000 + number, topic=topic, name="nap", payload={"seconds": 2})
        for _ in range(32):
            assert (await eve.receive())["payload"]["code"] == "timeout"
        refused = await eve.call(topic, "quick")
        assert (refused["payload"]["code"], refused["payload"]["retry_after"] > 0) == ("too_many_calls", True)
        assert await slowest(ada, topic, "quick", 0.5) < LONGEST_SECONDS


async def test_joins_do_not_wait_for_slow_actions(target: Attacked) -> None:
    topic = room()
    async with AsyncExitStack() as stack:
        users = ["ada", "grace", None]
        attackers = [await stack.enter_async_context(Live(target.running, user=user)) for user in users * 2]
        for attacker in attackers:
            await attacker.join(topic)
        for attacker in attackers:
            for number in range(32):
                await attacker.send(
                    type="call", ref=1000 + number, topic=topic, name="nap", payload={"seconds": 1}
                )
        async with Live(target.running, user="grace") as late:
            for _ in range(5):
                began = time.monotonic()
                assert (await late.join(room()))["type"] == "joined"
                assert time.monotonic() - began < LONGEST_SECONDS


async def test_calls_whose_clients_are_gone_are_not_carried_out(target: Attacked) -> None:
    topic = room()
    await asyncio.gather(*[send_calls(target, topic, 12, "nap", False, seconds=0.5) for _ in range(8)])
    await asyncio.sleep(2)
    assert await rows(target, topic) < 24  # a share of the threads, and not all 96


async def test_unfinished_calls_of_an_address_are_bounded_however_many_connections_it_has(
    on_postgres: Prepared, tmp_path: Path
) -> None:
    topic = room()
    with attacked(tmp_path, on_postgres, holdfast={"CALLS_PER_USER": 40}) as server:
        async with AsyncExitStack() as stack:
            lives = [await stack.enter_async_context(Live(server.running, user=None)) for _ in range(3)]
            codes = []
            for live in lives:
                await live.join(topic)
                for number in range(20):
                    await live.send(
                        type="call", ref=1000 + number, topic=topic, name="nap", payload={"seconds": 0.3}
                    )
            for live in lives:
                answers = [await live.receive() for _ in range(20)]
                codes += [answer["payload"]["code"] for answer in answers if answer["type"] == "error"]
        assert codes.count("too_many_calls") == 20


async def test_an_anonymous_rate_holds_across_connections_and_client_ids(target: Attacked) -> None:
    topic, codes = room(), []
    for number in range(20):
        async with Live(target.running, user=None) as live:
            await live.hello(client=f"someone-{number}")
            await live.join(topic)
            for key in (None, uuid4().hex):
                answer = await live.call(topic, "seldom", key=key)
                codes.append(answer["payload"]["code"] if answer["type"] == "error" else "carried out")
    assert codes.count("carried out") == 1
    assert codes.count("rate_limited") == 39
    assert await rows(target, topic) == 1


async def test_a_rate_holds_across_servers(on_postgres: Prepared, redis_url: str, tmp_path: Path) -> None:
    topic, codes = room(), []
    shared = {"REDIS": redis_url}
    with (
        attacked(tmp_path / "one", on_postgres, holdfast=shared) as one,
        attacked(tmp_path / "two", on_postgres, holdfast=shared) as two,
    ):
        for server in (one, two, one, two):
            async with Live(server.running) as live:
                await live.join(topic)
                for key in (None, uuid4().hex):
                    answer = await live.call(topic, "seldom", key=key)
                    codes.append(answer["payload"]["code"] if answer["type"] == "error" else "carried out")
        assert codes.count("carried out") == 1
        assert codes.count("rate_limited") == 7
        assert await rows(one, topic) == 1


async def test_a_keyed_call_beyond_its_rate_writes_nothing(
    target: Attacked, on_postgres: Prepared, postgres_server: PostgresServer
) -> None:
    assert on_postgres.databases is not None
    dsn, topic = postgres_server.dsn(on_postgres.databases["default"]["NAME"]), room()
    async with Live(target.running) as eve:
        await eve.join(topic)
        first = await eve.call(topic, "seldom", key="first")
        assert first["type"] == "result"
        before = writes(dsn)
        for number in range(50):
            answer = await eve.call(topic, "seldom", key=f"later-{number}")
            assert answer["payload"]["code"] == "rate_limited"
        assert writes(dsn) - before < 10  # the server's own
        again = await eve.call(topic, "seldom", key="first")
        assert (again["type"], again["payload"]) == ("result", first["payload"])


def writes(dsn: str) -> int:
    """Return the number of transactions that have written to PostgreSQL so far: a plain read gets no number."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_client_that_makes_an_action_fail_writes_few_tracebacks(
    on_postgres: Prepared, tmp_path: Path
) -> None:
    topic = room()
    with attacked(tmp_path, on_postgres, expected="Traceback") as server:
        began = time.monotonic()
        async with Live(server.running) as live:
            await live.join(topic)
            for _ in range(90):
                assert (await live.call(topic, "fail"))["payload"]["code"] == "internal"
        seconds = time.monotonic() - began
        assert 1 <= server.output().count("ZeroDivisionError: as the client has asked") <= seconds + 1


async def test_answers_that_a_client_has_stored_are_bounded(on_postgres: Prepared, tmp_path: Path) -> None:
    topic = room()
    with attacked(tmp_path, on_postgres, holdfast={"ANSWER_BYTES_PER_USER": 200_000}) as server:
        codes = []
        for number in range(4):
            async with Live(server.running, user=None) as live:
                await live.hello(client=f"someone-{number}")
                await live.join(topic)
                for call in range(5):
                    answer = await live.call(topic, "large", key=f"{number}-{call}", length=50_000)
                    codes.append(answer["payload"]["code"] if answer["type"] == "error" else "stored")
                assert (await live.call(topic, "large", length=5))["type"] == "result"  # without a key
    assert codes == ["stored"] * 4 + ["rate_limited"] * 16
