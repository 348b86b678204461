"""The Python client against a real server."""

import asyncio
import json
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest

from holdfast.client import ClientError, RemoteEvent, RemoteLive, connect
from holdfast.client.blocking import connect as connect_blocking
from holdfast.client.read_ahead import WAITING

from .servers import SERVERS, Running

pytestmark = pytest.mark.parametrize(
    "server", [kind for kind in SERVERS if kind.name == "holdfast"], indirect=True, ids=["holdfast"]
)

SECONDS = 20.0


@pytest.fixture
def room() -> str:
    return f"rooms/r{uuid4().hex[:12]}"


def client(server: Running, port: int | None = None, user: str = "ada", **options: Any) -> RemoteLive:
    return connect(
        server.live,
        headers={"Cookie": server.users[user].cookie},
        origin=server.origin,
        socket_options={"port": port} if port else {},
        **options,
    )


async def take(topic: Any, count: int) -> list[RemoteEvent]:
    taken: list[RemoteEvent] = []
    async with asyncio.timeout(SECONDS):
        async for item in topic:
            assert isinstance(item, RemoteEvent), item
            taken.append(item)
            if len(taken) == count:
                break
    return taken


async def test_a_client_joins_calls_and_hears(server: Running, room: str) -> None:
    async with client(server) as live:
        topic = await live.join(room)
        number = await topic.call("say", text="hi")
        (event,) = await take(topic, 1)
    assert live.protocol.client
    assert (event.name, event.payload) == ("said", {"id": number, "text": "hi"})
    assert str(event.position).split(":")[1].startswith("1")


async def test_a_client_goes_on_from_a_position_of_an_earlier_process(server: Running, room: str) -> None:
    async with client(server) as live:
        topic = await live.join(room)
        await topic.call("say", text="first")
        (first,) = await take(topic, 1)
        await topic.call("say", text="second")
    async with client(server) as live:
        topic = await live.join(room, since=str(first.position))
        (second,) = await take(topic, 1)
    assert second.payload["text"] == "second"


async def test_a_loop_that_calls_for_each_event_of_a_long_backlog_comes_to_its_end(
    server: Running, room: str
) -> None:
    backlog = 2 * WAITING
    async with client(server) as live:
        topic = await live.join(room)
        for start in range(0, backlog, 32):
            await asyncio.gather(
                *[topic.call("say", text="hi") for _ in range(start, min(start + 32, backlog))]
            )
        (first,) = await take(topic, 1)
    calls, offsets = 0, []
    async with asyncio.timeout(SECONDS), client(server) as live:
        topic = await live.join(room, since=first.position)
        async for event in topic:
            assert isinstance(event, RemoteEvent), event
            offsets.append(event.position.offset if event.position else None)
            if len(offsets) == backlog - 1:
                break
            if len(offsets) % 50 == 0:
                await topic.call("say", text="again")
                calls += 1
    assert first.position is not None
    assert offsets == list(range(first.position.offset + 1, first.position.offset + backlog))
    assert calls > 30


async def test_a_forbidden_topic_a_wrong_call_and_a_refusal_have_their_codes(
    server: Running, room: str
) -> None:
    async with client(server) as live:
        with pytest.raises(ClientError) as forbidden:
            await live.join("rooms/private-x")
        topic = await live.join(room)
        with pytest.raises(ClientError) as invalid:
            await topic.call("say", text=5)
        with pytest.raises(ClientError) as refused:
            await topic.call("refuse")
    assert forbidden.value.code == "forbidden"
    assert invalid.value.code == "invalid_payload"
    assert (refused.value.code, refused.value.reason) == ("refused", "too_late")


async def test_a_refused_handshake_is_final_and_says_so(server: Running) -> None:
    with pytest.raises(ClientError):
        async with connect(
            server.live, headers={"Cookie": server.users["ada"].cookie}, origin="https://evil.example"
        ):
            raise AssertionError("it was let in")


def test_the_blocking_client_does_the_same(server: Running, room: str) -> None:
    headers = {"Cookie": server.users["ada"].cookie}
    with connect_blocking(server.live, headers=headers, origin=server.origin) as live:
        topic = live.join(room)
        number = topic.call("say", text="hi")
        event = next(iter(topic))
        assert isinstance(event, RemoteEvent)
        assert event.payload == {"id": number, "text": "hi"}
        topic.leave()
        assert list(topic) == []


def test_the_command_line_calls_and_prints_events(server: Running, room: str) -> None:
    options = ["--origin", server.origin, "--header", f"Cookie: {server.users['ada'].cookie}"]
    command = [sys.executable, "-m", "holdfast.client", *options]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
        )

    listener = [*command, "join", server.live, room, "--count", "1"]
    with subprocess.Popen(listener, stdout=subprocess.PIPE, text=True) as listening:
        while listening.poll() is None:
            called = run("call", server.live, room, "say", '{"text": "hi"}')
            assert called.returncode == 0, called.stderr
        assert listening.stdout is not None
        event = json.loads(listening.stdout.readline())
    assert (event["type"], event["name"], event["payload"]["text"]) == ("event", "said", "hi")
    assert int(called.stdout) > 0
    refused = run("call", server.live, "rooms/private-x", "say")
    assert (refused.returncode, "forbidden" in refused.stderr) == (1, True)
