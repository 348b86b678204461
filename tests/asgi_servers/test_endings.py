"""Clients that vanish or do not read, and servers that are stopped."""

import asyncio
import signal
import time
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed

from .client import Live, Raw
from .servers import Running, soon


@pytest.fixture
def room() -> str:
    return f"r{uuid4().hex[:12]}"


def test_a_client_that_vanishes_leaves_nothing_behind(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    before = server.state()["connections"]
    clients = [Raw(server) for _ in range(10)]
    for raw in clients:
        raw.send(type="join", ref=1, topic=topic)
        raw.until("joined")
    assert server.state()["subscriptions"][topic] == 10

    for raw in clients[:5]:
        raw.break_off()
    server.get(f"say/{room}/?count=100")
    for raw in clients[5:]:
        raw.socket.close()

    assert soon(lambda: topic not in server.state()["subscriptions"])
    assert soon(lambda: server.state()["connections"] <= before)


def test_the_transport_of_a_connection_goes_with_it(server: Running) -> None:
    """Uvicorn's own protocol weighs 60 to 120 KB, and clients that come and go at 100 a second add up."""
    before = int(server.get("sinks/"))
    for user in ("ada", "grace", None) * 5:
        raw = Raw(server, user=user)
        raw.send(type="hello")
        raw.until("welcome")
        raw.socket.close()

    assert soon(lambda: int(server.get("sinks/")) <= before, seconds=8)


def test_a_client_that_vanishes_during_joins_and_calls_leaves_nothing_behind(
    server: Running, room: str
) -> None:
    """In the middle of a handshake, a join, a call, a replay."""
    topic = f"rooms/{room}"
    server.get(f"say/{room}/?count=1000&size=500")
    before = server.state()["connections"]
    for _ in range(5):
        raw = Raw(server)
        raw.send(type="join", ref=1, topic=topic)
        raw.break_off()
        raw = Raw(server)
        raw.send(type="join", ref=1, topic=topic)
        epoch = raw.until("joined")["payload"]["epoch"]
        raw.send(type="call", ref=2, topic=topic, name="slowly", payload={"seconds": 0.05})
        raw.send(type="call", ref=3, topic=topic, name="wait", payload={"seconds": 0.05})
        raw.break_off()
        raw = Raw(server)
        raw.send(type="join", ref=1, topic=topic, payload={"since": {"epoch": epoch, "offset": 1}})
        raw.until("event")
        raw.break_off()

    assert soon(lambda: topic not in server.state()["subscriptions"])
    assert soon(lambda: server.state()["connections"] <= before)


COUNT, SIZE, SLOW = 1600, 16_000, 6
BOUND = 60 << 20  # all of it would be 150 MB


@pytest.mark.alone  # it weighs a process
async def test_a_client_that_does_not_read_delays_no_other_and_costs_a_bounded_number_of_bytes(
    server: Running, room: str
) -> None:
    topic = f"rooms/{room}"
    slow = [Raw(server, buffer=4096) for _ in range(SLOW)]
    async with Live(server, user="grace") as quick:
        for raw in slow:
            raw.send(type="join", ref=1, topic=topic)
            raw.until("joined")
        await quick.join(topic)
        before = (await asyncio.to_thread(server.state))["memory"]

        for _ in range(COUNT // 100):
            await asyncio.to_thread(server.get, f"say/{room}/?count=100&size={SIZE}")
            received = await quick.events(100)
        after = (await asyncio.to_thread(server.state))["memory"]

        assert received[-1]["offset"] == COUNT
        if server.kind.backpressure:
            assert after - before < BOUND
        else:
            assert after - before > BOUND, (
                "the server has learned to hold back: correct its entry and the docs"
            )

    def reads_on(raw: Raw) -> list[int]:
        with raw:
            return [raw.until("event")["offset"] for _ in range(COUNT)]

    for offsets in await asyncio.gather(*(asyncio.to_thread(reads_on, raw) for raw in slow)):
        assert offsets == list(range(1, COUNT + 1))


async def test_a_slow_client_still_gets_its_answers(server: Running, room: str) -> None:
    topic = f"rooms/{room}"

    def slow() -> list[int]:
        with Raw(server, buffer=4096) as raw:
            raw.send(type="join", ref=1, topic=topic)
            raw.until("joined")
            server.get(f"say/{room}/?count=300&size=20000")
            for ref in range(2, 12):
                raw.send(type="call", ref=ref, topic=topic, name="wait", payload={"seconds": 0})
            answers: list[int] = []
            events = 0
            while events < 300 or len(answers) < 10:
                message = raw.receive()
                if message["type"] == "event":
                    events += 1
                    assert message["offset"] == events
                else:
                    answers.append(message["ref"])
            return answers

    assert sorted(await asyncio.to_thread(slow)) == list(range(2, 12))  # calls run beside each other


async def until_closed(live: Live) -> list[str]:
    """Return the types of all messages that still arrive."""
    types: list[str] = []
    while True:
        try:
            types.append((await live.receive())["type"])
        except ConnectionClosed:
            return types


async def test_sigterm_ends_a_server_with_connections_in_bounded_time(own: Running, room: str) -> None:
    async with (
        Live(own) as ada,
        Live(own, user="grace") as grace,
        Live(own, path="ws/echo/", subprotocols=()),
    ):
        await ada.join(f"rooms/{room}")
        await grace.join(f"rooms/{room}")
        await ada.send(type="call", topic=f"rooms/{room}", name="slowly", payload={"seconds": 0.3})
        await ada.send(type="ping")
        await ada.until(lambda message: message["type"] == "pong")

        started = time.monotonic()
        own.process.process.send_signal(signal.SIGTERM)
        messages = await until_closed(grace)
        code, _ = await grace.closed()
        await asyncio.to_thread(own.process.process.wait, 30)

    assert time.monotonic() - started < 15
    assert ("goodbye" in messages) is own.kind.says_goodbye, messages
    assert code == own.kind.close_at_shutdown
