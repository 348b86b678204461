"""The nginx that users copy (`deploy/nginx/holdfast.conf`), real, in front of two servers of each kind."""

import asyncio
import contextlib
import dataclasses
import http.client
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from tests.asgi_servers.client import Live
from tests.asgi_servers.http import EventStream
from tests.asgi_servers.servers import BIN, GENEROUS, Kind, Prepared, Running, environment_for, soon
from tests.services.nginx import TEMPLATE, Nginx, running_nginx, site
from tests.services.processes import Server, free_port, start

from .http2 import Http2

SERVE = Kind(
    name="serve",
    command=lambda port, _: ["python", "-m", "django", "holdfast", "serve", "--port", str(port)],
)
DAPHNE = Kind(
    name="daphne",
    backpressure=False,
    command=lambda port, app: ["daphne", "--proxy-headers", "-p", str(port), app],
)
APPLICATION = "tests.asgi_servers.project.asgi:application"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared.make(tmp_path_factory.mktemp("prepared"))


class Fleet:
    """Two servers on one database, and nginx in front of them."""

    def __init__(self, servers: list[Running], nginx: Nginx, start: Callable[[int], Server]) -> None:
        self.servers = servers
        self.nginx = nginx
        self.start = start
        self.front = dataclasses.replace(servers[0], port=nginx.port)


@contextlib.contextmanager
def fleet(
    prepared: Prepared,
    directory: Path,
    kind: Kind = SERVE,
    *,
    changes: Mapping[str, str] | None = None,
    port: int | None = None,
    **holdfast: Any,
) -> Iterator[Fleet]:
    database = directory / "live.sqlite3"
    database.write_bytes(prepared.database.read_bytes())
    settings = {**GENEROUS, "RECONCILE_SECONDS": 0.2, "DRAIN_SECONDS": 2, **holdfast}
    environment = {
        **environment_for(database, settings),
        "DJANGO_SETTINGS_MODULE": "tests.asgi_servers.project.settings",
    }
    with ExitStack() as stack:

        def begin(port: int) -> Server:
            program, *arguments = kind.command(port, APPLICATION)
            where = directory / str(port)
            where.mkdir(exist_ok=True)
            process = start(kind.name, [BIN / program, *arguments], directory=where, env=environment)
            stack.callback(process.stop)
            return process

        servers = [
            Running(kind=kind, port=port, process=begin(port), users=prepared.users)
            for port in (free_port(), free_port())
        ]
        for server in servers:
            server.process.wait_until(server.ready)
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        nginx = stack.enter_context(running_nginx(addresses, port=port, changes=changes))
        yield Fleet(servers, nginx, begin)


@pytest.fixture(scope="module", params=[SERVE, DAPHNE], ids=lambda kind: kind.name)
def either(
    request: pytest.FixtureRequest, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Each kind of server, for tests that change nothing."""
    with fleet(prepared, tmp_path_factory.mktemp(request.param.name), request.param) as running:
        yield running


@pytest.fixture
def topic() -> str:
    return f"rooms/r{uuid4().hex[:12]}"


def said(fleet: Fleet, topic: str, query: str = "") -> None:
    fleet.front.get(f"say/{topic.removeprefix('rooms/')}/{query}")


def asked(fleet: Fleet, port: int) -> bool:
    """Return whether nginx asks the server of this port again."""
    fleet.front.get("me/")
    answered = fleet.nginx.requests()  # logged after the client has got the answer
    return bool(answered) and answered[-1][1] == [f"127.0.0.1:{port}"]


# ── what passes through ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_topics_and_calls_work_through_it(either: Fleet, topic: str) -> None:
    async with Live(either.front) as ada, Live(either.front, user="grace") as grace:
        await ada.join(topic)
        await grace.join(topic)
        answer = await ada.call(topic, "say", key="one", text="through nginx")
        assert answer["type"] == "result"
        assert (await grace.event())["payload"]["text"] == "through nginx"
        assert (await ada.event())["offset"] == 1


async def test_connections_are_spread_over_the_servers(either: Fleet) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(10):
            client = await stack.enter_async_context(Live(either.front))
            await client.hello()
        counts = [(await asyncio.to_thread(server.state))["connections"] for server in either.servers]
    assert sum(counts) >= 10
    assert max(counts) - min(counts) <= 2


async def test_large_messages_pass_in_both_directions(either: Fleet, topic: str) -> None:
    async with Live(either.front) as client:
        await client.join(topic)
        await asyncio.to_thread(said, either, topic, "?size=900000")
        assert len((await client.event())["payload"]["text"]) == 900_000
        text = "x" * 19_000
        assert (await client.call(topic, "say", text=text))["type"] == "result"
        assert (await client.event())["payload"]["text"] == text


def test_the_servers_learn_the_clients_address_and_trust_no_other_header(either: Fleet) -> None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", either.nginx.port, timeout=10, source_address=("127.0.0.9", 0)
    )
    with contextlib.closing(connection):
        connection.request("GET", "/client/", headers={"X-Forwarded-For": "203.0.113.7"})
        assert connection.getresponse().read() == b"127.0.0.9"


def test_streams_are_not_held_back(either: Fleet) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", either.nginx.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/live/drip/?after=0&after=0.2&after=3")
        began = time.monotonic()
        response = connection.getresponse()
        assert [response.readline(), response.readline()] == [b"after 0\n", b"after 0.2\n"]
        assert time.monotonic() - began < 2, "these come before the last"


def test_a_stream_that_its_client_does_not_read_is_not_piled_up_by_nginx(either: Fleet) -> None:
    if not either.servers[0].kind.backpressure:
        pytest.skip("this server itself piles up what is not read")

    def poured() -> list[int]:
        return [server.state()["poured"] for server in either.servers]

    with socket.create_connection(("127.0.0.1", either.nginx.port)) as idle:
        idle.sendall(b"GET /live/pour/60/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert soon(lambda: max(poured()) > 0)
        before, after = [], poured()
        while before != after:  # until the count stays the same
            time.sleep(0.3)
            before, after = after, poured()
    assert max(after) < 30


async def test_event_streams_pass_through_it_and_end_with_their_client(either: Fleet, topic: str) -> None:
    async with EventStream(either.front, topic) as stream:
        await stream.of_type("joined")
        await asyncio.to_thread(said, either, topic)
        assert (await stream.of_type("event"))["offset"] == 1
        assert "x-accel-buffering" not in stream.response.headers, "nginx has obeyed it"


def test_the_polls_of_a_client_go_to_one_server_and_those_of_many_to_all(either: Fleet, topic: str) -> None:
    def poll(address: str, **asked: Any) -> dict[str, Any]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", either.nginx.port, timeout=10, source_address=(address, 0)
        )
        with contextlib.closing(connection):
            path = f"/live/poll?{urlencode({'topic': topic, **asked})}"
            connection.request("GET", path, headers={"Cookie": either.front.users["ada"].cookie})
            response = connection.getresponse()
            assert response.status == 200
            answer: dict[str, Any] = json.loads(response.read())
            return answer

    sessions = set()
    for client in range(12):
        address = f"127.0.1.{client + 1}"
        answer = poll(address)
        for _ in range(3):
            session = answer["session"]
            said(either, topic)
            answer = poll(address, session=session, ack=answer["ack"], **{"last-event-id": answer["last"]})
            assert answer["session"] == session
        sessions.add(session)
    assert len(sessions) == 12
    servers = {asked[-1] for _, asked, _, path in either.nginx.requests() if path.startswith("/live/poll")}
    assert len(servers) == 2


def test_polls_that_reach_another_server_each_time_bring_each_event_once_and_wait_for_news(
    prepared: Prepared, tmp_path: Path, topic: str
) -> None:
    with fleet(prepared, tmp_path, changes={"hash": "$request_id"}) as running:
        asked: dict[str, Any] = {"topic": topic, "client": "c1"}

        def poll(timeout: float = 10) -> list[Any]:
            connection = http.client.HTTPConnection("127.0.0.1", running.nginx.port, timeout=timeout)
            with contextlib.closing(connection):
                headers = {"Cookie": running.front.users["ada"].cookie}
                connection.request("GET", f"/live/poll?{urlencode(asked)}", headers=headers)
                answer = json.loads(connection.getresponse().read())
            asked.update(
                {"session": answer["session"], "ack": answer["ack"], "last-event-id": answer["last"]}
            )
            return list(answer["messages"])

        poll()
        offsets: list[int] = []
        for number in range(1, 31):
            said(running, topic)
            while len(offsets) < number:
                offsets += [message["offset"] for message in poll() if message["type"] == "event"]
        assert offsets == list(range(1, 31))
        servers = {
            asked[-1] for _, asked, _, path in running.nginx.requests() if path.startswith("/live/poll")
        }
        assert len(servers) == 2
        for _ in range(4):  # most of them meet the other server
            with pytest.raises(TimeoutError):
                poll(timeout=1)


async def test_over_http_2_one_connection_carries_more_streams_than_a_browser_opens_connections(
    prepared: Prepared, tmp_path: Path, topic: str
) -> None:
    port = free_port()
    with fleet(prepared, tmp_path, port=port, changes={"listen": f"127.0.0.1:{port} http2"}) as running:
        cookie = running.front.users["ada"].cookie
        async with Http2(port) as browser:
            streams = [browser.get(f"/live/sse?topic={topic}", cookie=cookie) for _ in range(10)]
            for stream in streams:
                await browser.read(stream, until=b'"type":"joined"')
            room = topic.removeprefix("rooms/")
            await asyncio.to_thread(running.servers[0].get, f"say/{room}/")
            for stream in streams:
                await browser.read(stream, until=b'"name":"said"')


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_address_has_no_more_connections_than_nginx_lets_it(
    prepared: Prepared, tmp_path: Path
) -> None:
    with fleet(prepared, tmp_path, changes={"limit_conn": "holdfast_connections 3"}) as running:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Live(running.front)) for _ in range(3)]
            for client in clients:
                await client.hello()
            refused = await asyncio.to_thread(answer_to_handshake, running)
            assert (refused.status, refused.getheader("Retry-After")) == (429, "10")
            await clients[0].socket.close()

            def taken() -> bool:
                return answer_to_handshake(running).status == 101

            assert await asyncio.to_thread(soon, taken)
            for client in clients[1:]:
                await client.send(type="ping")
                await client.until(lambda message: message["type"] == "pong")
        servers = {
            server for status, asked, *_ in running.nginx.requests() if status == 429 for server in asked
        }
        assert servers == {"-"}, "no server has seen what nginx refused"


async def test_an_address_opens_connections_no_faster_than_nginx_lets_it(
    prepared: Prepared, tmp_path: Path
) -> None:
    changes = {
        "limit_req_zone": "$binary_remote_addr zone=holdfast_handshakes:10m rate=1r/m",
        "limit_req": "zone=holdfast_handshakes burst=4 nodelay",
    }
    with fleet(prepared, tmp_path, changes=changes) as running:
        found = [await asyncio.to_thread(answer_to_handshake, running) for _ in range(8)]
        assert [response.status for response in found] == [101] * 5 + [429] * 3
        assert found[-1].getheader("Retry-After") == "10"
        assert found[0].getheader("Retry-After") is None
        await asyncio.to_thread(running.front.get, "me/")  # pages have no such limit


def answer_to_handshake(running: Fleet) -> http.client.HTTPResponse:
    """Open a connection through nginx and end it again. Return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.nginx.port, timeout=10)
    with contextlib.closing(connection):
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        connection.request("GET", "/live/ws", headers=upgrade)
        return connection.getresponse()


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

BEATS = {"HEARTBEAT_SECONDS": 0.4}


async def test_a_silent_connection_with_heartbeats_outlasts_the_timeout(
    prepared: Prepared, tmp_path: Path, topic: str
) -> None:
    with fleet(prepared, tmp_path, changes={"proxy_read_timeout": "2s"}, **BEATS) as running:
        async with Live(running.front) as client:
            heartbeat = (await client.hello())["payload"]["heartbeat"]
            await client.join(topic)
            end = time.monotonic() + 5
            while time.monotonic() < end:
                await client.send(type="ping")
                await client.until(lambda message: message["type"] == "pong")
                await asyncio.sleep(heartbeat)
            await asyncio.to_thread(said, running, topic)
            assert (await client.event())["offset"] == 1


@pytest.mark.parametrize(("timeout", "code"), [("9s", 4001), ("1s", 1006)])
async def test_the_server_notices_a_silent_client_if_the_timeout_leaves_it_the_time(
    prepared: Prepared, tmp_path: Path, timeout: str, code: int
) -> None:
    """With a timeout below 2.5 heartbeats nginx cuts the connection without a close code, as the template's comment warns."""
    changes = {"proxy_read_timeout": timeout, "proxy_send_timeout": timeout}
    with fleet(prepared, tmp_path, changes=changes, HEARTBEAT_SECONDS=0.8) as running:
        async with Live(running.front) as client:
            await client.hello()
            write = client.socket.protocol.send_frame
            client.socket.protocol.send_frame = lambda frame: frame.opcode is Opcode.PONG or write(frame)  # type: ignore[method-assign,assignment,return-value]
            assert (await client.closed())[0] == code


def test_the_templates_timeout_is_above_the_default_heartbeats() -> None:
    from holdfast.conf import Settings
    from holdfast.protocol.server_protocol import SILENT_HEARTBEATS

    (line,) = [line for line in TEMPLATE.read_text().splitlines() if "proxy_read_timeout" in line]
    assert float(line.split()[1].rstrip("s;")) > SILENT_HEARTBEATS * Settings().heartbeat_seconds


# ── servers that go ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_whose_server_is_killed_goes_on_at_the_other_without_a_gap(
    prepared: Prepared, tmp_path: Path, topic: str
) -> None:
    with fleet(prepared, tmp_path) as running:
        first, second = running.servers
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Live(running.front)) for _ in range(4)]
            positions = []
            for client in clients:
                epoch = (await client.join(topic))["payload"]["epoch"]
                positions.append({"epoch": epoch, "offset": 0})
            await asyncio.to_thread(said, running, topic)
            for client in clients:
                assert (await client.event())["offset"] == 1
            first.process.kill()
            await asyncio.to_thread(second.get, f"say/{topic.removeprefix('rooms/')}/?count=5")
            lost = kept = 0
            for client, position in zip(clients, positions, strict=True):
                try:
                    assert [event["offset"] for event in await client.events(5)] == [2, 3, 4, 5, 6]
                    kept += 1
                except ConnectionClosed:
                    lost += 1
                    back = await stack.enter_async_context(Live(running.front))
                    joined = await back.join(topic, since={**position, "offset": 1})
                    assert joined["payload"]["recovered"] is True
                    assert [event["offset"] for event in await back.events(5)] == [2, 3, 4, 5, 6]
            assert (lost, kept) == (2, 2)
        handshakes = [asked for status, asked, _, path in running.nginx.requests() if path == "/live/ws"]
        assert all(asked[-1] != f"127.0.0.1:{first.port}" for asked in handshakes[-2:])


async def test_a_handshake_that_one_server_does_not_take_goes_to_the_other(
    prepared: Prepared, tmp_path: Path
) -> None:
    with fleet(prepared, tmp_path) as running:
        running.servers[0].process.kill()
        async with AsyncExitStack() as stack:
            for _ in range(4):
                client = await stack.enter_async_context(Live(running.front))
                assert (await client.hello())["type"] == "welcome"
        for server in running.servers[1:]:
            server.process.stop()
        tried = {server for _, asked, _, _ in running.nginx.requests() for server in asked}
        assert len(tried) == 2, "it has tried both"


async def test_a_server_that_drains_is_left_without_a_request_that_fails(
    prepared: Prepared, tmp_path: Path, topic: str
) -> None:
    """Clients behind nginx while one server after the other is replaced, and events are published all the time."""
    with fleet(prepared, tmp_path) as running:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(Live(running.front))
            epoch = (await first.join(topic))["payload"]["epoch"]
            seen: list[list[int]] = [[] for _ in range(20)]
            done = asyncio.Event()
            last = 0

            async def client(number: int) -> None:
                while True:
                    async with Live(running.front) as live:
                        try:
                            await live.join(topic, {"epoch": epoch, "offset": len(seen[number])})
                            while True:
                                message = await live.until(lambda m: m["type"] in ("event", "goodbye"))
                                while live._kept:
                                    seen[number].append(live._kept.popleft()["offset"])
                                if message["type"] == "goodbye":
                                    await asyncio.sleep(message["payload"]["after"])
                                    break
                                seen[number].append(message["offset"])
                                if done.is_set() and len(seen[number]) == last:
                                    return
                        except ConnectionClosed:
                            pass

            clients = [asyncio.create_task(client(number)) for number in range(len(seen))]
            for server in running.servers:
                server.process.process.send_signal(signal.SIGTERM)
                while server.process.process.poll() is None:
                    await asyncio.to_thread(said, running, topic)
                    last += 1
                again = running.start(server.port)
                await asyncio.to_thread(again.wait_until, server.ready)
                assert await asyncio.to_thread(soon, lambda port=server.port: asked(running, port))
            done.set()
            last += 1
            await asyncio.to_thread(said, running, topic)
            async with asyncio.timeout(20):
                await asyncio.gather(*clients)

    assert last > 5
    assert all(offsets == list(range(1, last + 1)) for offsets in seen)


# ── the file itself ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_change_of_what_is_not_in_the_template_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing that matches"):
        site(TEMPLATE.read_text(), listen="1", servers=["a"], changes={"proxy_reed_timeout": "1s"})
