"""The attacks on the limits of connections, joins, calls and readers, over event streams, polling and POST."""

import asyncio
import contextlib
import json
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.asgi_servers.client import Live
from tests.asgi_servers.http import EventStream, Message, call, publish, request
from tests.asgi_servers.servers import PUBLISHING_SECRETS, Prepared, Running, soon

from .listeners import LISTENERS
from .server import MEBIBYTE, Memory, attacked

LISTENING = pytest.mark.parametrize("way", ["stream", "polling"])
COUNTED = {"EXEMPT_NETWORKS": []}
"""Every client of these tests has a loopback address, which is exempt by default."""

SHOP = {
    "NAME": "shop",
    "KEYS": [PUBLISHING_SECRETS["shop"]],
    "TOPICS": ["rooms/*", "news/*", "tickers/*"],
    "RATE": "1000/s",
}


async def answers_of(server: Running, way: str, topics: list[str]) -> list[str]:
    """Open a connection that joins topics. Return ``joined``, or the code, for each."""
    query = urlencode([("topic", topic) for topic in topics])
    headers = {"Cookie": server.users["ada"].cookie, "Connection": "close"}
    found: list[Message] = []
    if way == "stream":
        async with EventStream(server, *topics) as stream:
            while len(found) < len(topics):
                found.append(await stream.of_type("joined", "error"))
    else:
        state: dict[str, Any] = {}
        async with asyncio.timeout(20):
            while len(found) < len(topics):
                path = f"/live/poll?{query}&{urlencode(state)}"
                response, writer = await request(server, "GET", path, headers)
                answer = json.loads(await response.body())
                writer.close()
                found += [one for one in answer["messages"] if one["type"] in ("joined", "error")]
                state = {name: answer[name] for name in ("session", "ack")}
                state["last-event-id"] = answer["last"]
    return [message["payload"].get("code", message["type"]) for message in found]


@LISTENING
async def test_a_user_with_too_many_connections_learns_it(
    tmp_path: Path, prepared: Prepared, way: str
) -> None:
    opened = LISTENERS[way]
    with attacked(tmp_path, prepared, holdfast={"CONNECTIONS_PER_USER": 2}) as server:
        async with (
            opened(server.running, "rooms/a", user="ada") as first,
            opened(server.running, "rooms/a", user="ada") as second,
        ):
            assert (await first.answer())["type"] == "joined"
            assert (await second.answer())["type"] == "joined"
            async with opened(server.running, "rooms/a", user="ada") as third:
                goodbye = await third.of_type("goodbye")
            async with opened(server.running, "rooms/a", user="grace") as other:
                assert (await other.answer())["type"] == "joined"
    assert goodbye["payload"] == {"code": "too_many_connections", "reconnect": True, "after": 30.0}


@LISTENING
async def test_thousands_of_joins_are_limited(tmp_path: Path, prepared: Prepared, way: str) -> None:
    """Each connection may join 20 topics at once, and those of one user together three times as many."""
    limits = {"JOIN_RATE": "1/h", "TOPICS_PER_CONNECTION": 20}
    with attacked(tmp_path, prepared, holdfast=limits) as server:
        async with AsyncExitStack() as stack:
            for _ in range(2):  # the user's connections count together while there are several
                live = await stack.enter_async_context(Live(server.running))
                await live.hello()
            codes: list[str] = []
            for number in range(8):
                topics = [f"rooms/r{number}-{place}" for place in range(20)]
                codes += await answers_of(server.running, way, topics)
    assert set(codes) == {"joined", "rate_limited"}
    assert codes.count("joined") <= 60


async def test_polls_without_a_pause_are_limited_before_they_are_authenticated(
    tmp_path: Path, prepared: Prepared
) -> None:
    """A lingering session is no new connection, so no limit of handshakes counts its requests."""
    with attacked(tmp_path, prepared, holdfast={"MESSAGE_RATE": "1/s", "MESSAGE_BURST": 20}) as server:
        query = {"topic": "rooms/a"}
        headers = {"Cookie": server.running.users["ada"].cookie}
        response, writer = await request(
            server.running, "GET", f"/live/poll?{urlencode(query)}", {**headers, "Connection": "close"}
        )
        answer = json.loads(await response.body())
        writer.close()
        query |= {"session": answer["session"], "ack": "0"}  # asks for the first answer again and again
        statuses = []
        for _ in range(60):
            path = f"/live/poll?{urlencode(query)}"
            response, writer = await request(server.running, "GET", path, {**headers, "Connection": "close"})
            await response.body()
            writer.close()
            statuses.append(response.status)
            if response.status == 429:
                assert int(response.headers["retry-after"]) > 0
    assert statuses[0] == 200
    assert 15 <= statuses.count(200) <= 30
    assert set(statuses) == {200, 429}


async def test_a_poller_that_asks_no_more_costs_little_and_is_closed(
    tmp_path: Path, prepared: Prepared
) -> None:
    with attacked(tmp_path, prepared) as server:
        async with AsyncExitStack() as stack:
            for _ in range(20):
                poller = LISTENERS["polling"](server.running, "tickers/flood", user=None)
                assert (await (await stack.enter_async_context(poller)).answer())["type"] == "joined"
            memory = Memory(server)
            for start in range(0, 900, 15):  # nine megabytes for each
                page = f"tick/flood/?start={start}&count=15&size=10000"
                await asyncio.to_thread(server.running.get, page)
            assert memory.grown < 20 * MEBIBYTE

            def all_are_closed() -> bool:
                return not server.running.state()["subscriptions"].get("tickers/flood")

            assert await asyncio.to_thread(soon, all_are_closed, 15)


async def test_readers_of_history_that_stop_cost_little_and_are_closed(
    tmp_path: Path, prepared: Prepared
) -> None:
    """Each page has twenty megabytes."""
    settings = {"STALL_SECONDS": 1, "PUBLISHING_KEYS": [SHOP]}
    with attacked(tmp_path, prepared, holdfast=settings) as server:
        topic = f"news/n{uuid4().hex[:12]}"
        event = {"topic": topic, "name": "said", "payload": {"id": 1, "text": "x" * 200_000}}
        for _ in range(10):
            status, _ = await publish(server.running, [event] * 10, secret=PUBLISHING_SECRETS["shop"])
            assert status == 202
        response, writer = await request(
            server.running, "GET", f"/live/history?topic={topic}", {"Connection": "close"}
        )
        name = json.loads(await response.body())["previous"]
        writer.close()
        memory, tasks = Memory(server), server.running.state()["tasks"]
        with contextlib.ExitStack() as stack:
            readers = []
            for _ in range(20):
                reader = stack.enter_context(socket.socket())
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.settimeout(15)
                reader.connect(("127.0.0.1", server.port))
                reader.sendall(
                    f"GET /live/history?topic={topic}&upto={name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
                )
                readers.append(reader)

            def all_are_given_up() -> bool:
                return bool(server.running.state()["tasks"] <= tasks)

            assert await asyncio.to_thread(soon, lambda: not all_are_given_up())
            assert await asyncio.to_thread(soon, all_are_given_up, 40)
            assert memory.grown < 20 * 4 * MEBIBYTE  # of twenty for each
            for reader in readers:
                received = 0
                with contextlib.suppress(ConnectionResetError):
                    while part := reader.recv(65536):
                        received += len(part)
                assert received < 5 * MEBIBYTE


async def test_posted_calls_of_a_user_are_bounded(tmp_path: Path, prepared: Prepared) -> None:
    with attacked(tmp_path, prepared, holdfast={"CALLS_PER_USER": 5}) as server:
        answers = await asyncio.gather(
            *[call(server.running, "rooms/a", "wait", seconds=1.0) for _ in range(12)]
        )
    codes = [answer["payload"]["code"] for status, answer in answers if status == 429]
    assert codes == ["too_many_calls"] * 7


async def test_posted_messages_of_a_user_have_a_rate(tmp_path: Path, prepared: Prepared) -> None:
    """A POST that the protocol would answer counts, whatever is in it: 3 (RATES_PER_USER) times 5."""
    limits = {"MESSAGE_RATE": "1/h", "MESSAGE_BURST": 5}
    with attacked(tmp_path, prepared, holdfast=limits) as server:
        statuses = [(await call(server.running, "no/such", "say"))[0] for _ in range(25)]
    assert statuses == [403] * 15 + [429] * 10


async def test_an_anonymous_rate_holds_across_posted_calls_and_client_ids(
    tmp_path: Path, prepared: Prepared
) -> None:
    topic, codes = f"targets/r{uuid4().hex[:12]}", []
    with attacked(tmp_path, prepared) as server:
        for number in range(12):
            key = uuid4().hex if number % 2 else None
            headers = {"Origin": server.running.origin}
            _, answer = await call(
                server.running, topic, "seldom", user=None, csrf=False, key=key, headers=headers
            )
            codes.append(answer["payload"]["code"] if answer["type"] == "error" else "carried out")
    assert codes.count("carried out") == 1
    assert codes.count("rate_limited") == 11


async def test_readers_of_history_have_the_limits_of_their_address(
    tmp_path: Path, prepared: Prepared
) -> None:
    limits = COUNTED | {"HANDSHAKES_PER_ADDRESS": "10/24h"}
    with attacked(tmp_path, prepared, holdfast=limits) as server:
        statuses = []
        for _ in range(20):
            response, writer = await request(
                server.running, "GET", "/live/history?topic=news/a", {"Connection": "close"}
            )
            await response.body()
            writer.close()
            statuses.append(response.status)
    assert statuses == [200] * 10 + [429] * 10
