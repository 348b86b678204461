"""The Python client against a real server, on a good line and on bad ones."""

import asyncio
import json
import os
import random
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest

from holdfast.client import ClientError, RemoteEvent, RemoteLive, connect
from holdfast.client.backoff import Backoff
from holdfast.client.blocking import connect as connect_blocking
from tests.client.fault_proxy import faulty

from .servers import SERVERS, Running

pytestmark = pytest.mark.parametrize(
    "server", [kind for kind in SERVERS if kind.name == "holdfast"], indirect=True, ids=["holdfast"]
)

SCHEDULES = int(os.environ.get("HOLDFAST_CLIENT_SCHEDULES", "6"))
"""Random fault schedules of one run. ``HOLDFAST_CLIENT_SCHEDULES=1000`` for a long one."""

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


@pytest.mark.parametrize("seed", range(SCHEDULES))
async def test_on_a_line_that_breaks_every_event_comes_once_and_every_call_is_carried_out_once(
    server: Running, room: str, seed: int
) -> None:
    backoff = Backoff(random.Random(seed).random, base=0.05, cap=0.2)
    before = asyncio.all_tasks()
    async with faulty(server.port, seed) as proxy, client(server) as watcher:
        seen = await watcher.join(room)
        async with client(server, proxy.port, backoff=backoff) as live:
            topic = await live.join(room)
            calls = [topic.call("say", text=f"{number}".rjust(200, ".")) for number in range(15)]
            answers = await asyncio.wait_for(asyncio.gather(*calls), SECONDS)
            proxy.calm = True
            heard = await take(topic, 15)
        told = await take(seen, 15)
    assert len(set(answers)) == 15, "each call was carried out once"
    assert [event.payload for event in heard] == [event.payload for event in told]
    assert sorted(event.payload["id"] for event in told) == sorted(answers)
    await asyncio.sleep(0.05)
    assert {task for task in asyncio.all_tasks() if "holdfast" in repr(task)} <= before


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
