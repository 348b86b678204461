"""Clients that do not read, on topics that store nothing, on each server."""

import asyncio
import contextlib
import time
from uuid import uuid4

import pytest

from holdfast.metrics import Counters

from .client import Live, Message, Raw, masked
from .servers import SERVERS, Running, soon

COUNT, SIZE = 900, 16_000
"""More than the buffers of both sides hold."""

AT_ONCE = 15
"""As much as one write buffer holds, so that the fast client misses nothing on a busy machine."""

OURS = [pytest.param(kind, id=kind.name) for kind in SERVERS if kind.name.startswith("holdfast")]
ADOPTING = [kind for kind in OURS if kind.id == "holdfast"]
HOLDING_BACK = [pytest.param(kind, id=kind.name) for kind in SERVERS if kind.backpressure]

#: Granian's send waits for every message. So of 240 KB in one turn, a client that reads gets the latest too.
TAKING_BURSTS = [kind for kind in HOLDING_BACK if kind.id != "granian"]


@pytest.fixture
def name() -> str:
    return f"r{uuid4().hex[:12]}"


COUNTERS = set(Counters.__struct_fields__) - {"events_delivered"}


def counters(server: Running) -> dict[str, int]:
    return {name: value for name, value in server.state()["counters"].items() if name in COUNTERS}


def counted(server: Running, before: dict[str, int]) -> dict[str, int]:
    """Return by how much the counters changed since ``before``."""
    return {key: value - before[key] for key, value in counters(server).items() if value != before[key]}


async def overrun(server: Running, topic: str, page: str) -> Raw:
    """A client that has joined and reads nothing, while another one gets everything that the page publishes."""
    slow = Raw(server, buffer=4096)
    slow.send(type="join", ref=1, topic=topic)
    slow.until("joined")
    async with Live(server, user="grace") as quick:
        await quick.join(topic)
        for start in range(0, COUNT, AT_ONCE):
            await asyncio.to_thread(server.get, f"{page}start={start}&count={AT_ONCE}&size={SIZE}")
            await quick.events(AT_ONCE)
    return slow


def reads_on(slow: Raw, *last: str) -> list[Message]:
    """Read up to the event with `last` in its payload; of several topics, up to the last one of each."""
    messages: list[Message] = []
    missing = set(last)
    with slow:
        while missing:
            messages.append(slow.receive())
            missing = {text for text in missing if text not in str(messages[-1].get("payload"))}
    return messages


@pytest.mark.parametrize("server", HOLDING_BACK, indirect=True)
async def test_drop_loses_the_oldest_and_sends_a_reset(server: Running, name: str) -> None:
    before = counters(server)
    slow = await overrun(server, f"tickers/{name}", f"tick/{name}/?")
    messages = await asyncio.to_thread(reads_on, slow, f"'{COUNT - 1}:")

    kinds = [message["type"] for message in messages]
    numbers = [int(m["payload"]["author"].partition(":")[0]) for m in messages if m["type"] == "event"]
    gap = kinds.index("reset")
    assert messages[gap]["payload"] == {"reason": "interrupted"}
    assert numbers[:gap] == list(range(gap))
    assert numbers[gap:] == list(range(numbers[gap], COUNT))
    assert counted(server, before) == {"events_dropped": COUNT - len(numbers)}


@pytest.mark.parametrize("server", TAKING_BURSTS, indirect=True)
async def test_latest_ends_with_the_latest_of_each_key(server: Running, name: str) -> None:
    before = counters(server)
    slow = await overrun(server, f"prices/{name}", f"price/{name}/?")
    messages = await asyncio.to_thread(reads_on, slow, f"'amount': {COUNT - 1},")

    assert {message["type"] for message in messages} == {"event"}
    amounts = [message["payload"]["amount"] for message in messages]
    assert amounts == sorted(amounts)
    assert amounts[-3:] == [COUNT - 3, COUNT - 2, COUNT - 1]
    assert counted(server, before) == {"events_conflated": COUNT - len(amounts)}


@pytest.mark.alone  # how many events fall into one turn of the loop depends on the load
@pytest.mark.parametrize("server", ADOPTING, indirect=True)
async def test_latest_conflates_as_soon_as_the_socket_is_full(server: Running, name: str) -> None:
    """12,000 small prices of three symbols are 1.5 MB. The client reads what its own side of the socket holds and what was
    on its way, and then the newest price of each symbol.

    Events of one turn of the event loop are written together, before the socket can refuse them. So they come by the hundred.
    """
    before, count = counters(server), 12_000
    slow = Raw(server, buffer=4096)
    slow.send(type="join", ref=1, topic=f"prices/{name}")
    slow.until("joined")
    for start in range(0, count, 100):
        await asyncio.to_thread(server.get, f"price/{name}/?start={start}&count=100&size=1")
    messages = await asyncio.to_thread(reads_on, slow, f"'amount': {count - 1},")

    amounts = [message["payload"]["amount"] for message in messages]
    assert amounts == sorted(amounts)
    assert amounts[-3:] == [count - 3, count - 2, count - 1]
    assert counted(server, before) == {"events_conflated": count - len(amounts)}
    assert len(amounts) < 600, "of about 125 bytes each"


@pytest.mark.parametrize("server", ADOPTING, indirect=True)
async def test_other_topics_of_the_connection_keep_the_whole_write_buffer(server: Running, name: str) -> None:
    """150 KB of them, more than a topic lets wait beyond it."""
    before = counters(server)
    slow = Raw(server, buffer=4096)
    for ref, topic in enumerate([f"prices/{name}", f"tickers/{name}"]):
        slow.send(type="join", ref=ref, topic=topic)
        slow.until("joined")
    await asyncio.to_thread(server.get, f"price/{name}/?start=0&count=3000&size=1")
    await asyncio.to_thread(server.get, f"tick/{name}/?count=150&size=1000")
    messages = await asyncio.to_thread(reads_on, slow, "'amount': 2999,", "'149:")

    ticks = [m["payload"]["author"].partition(":")[0] for m in messages if m["topic"].startswith("tickers")]
    assert ticks == [str(number) for number in range(150)]
    assert {message["type"] for message in messages} == {"event"}
    assert set(counted(server, before)) == {"events_conflated"}


@pytest.mark.parametrize("server", OURS, indirect=True)
async def test_a_rate_holds_for_clients_that_read(server: Running, name: str) -> None:
    before, count = counters(server), 3_000
    last: dict[str, int] = {}
    async with Live(server) as ada, Live(server, user="grace") as grace:
        for client in (ada, grace):
            await client.join(f"quotes/{name}")
        begun = time.monotonic()
        for start in range(0, count, 100):
            page = f"price/{name}/?quotes&start={start}&count=100&size=1"
            await asyncio.to_thread(server.get, page)
        heard: list[Message] = []
        while last.get("a", 0) + last.get("b", 0) + last.get("c", 0) < 3 * count - 6:
            heard.append((await ada.event())["payload"])
            last[heard[-1]["symbol"]] = heard[-1]["amount"]
        seconds = time.monotonic() - begun
        assert [(await grace.event())["payload"] for _ in heard] == heard

    assert last == {"a": count - 3, "b": count - 2, "c": count - 1}
    assert len(heard) <= 3 * (5 * seconds + 1)
    assert counted(server, before) == {"events_superseded": count - len(heard)}


@pytest.mark.parametrize("server", OURS, indirect=True)
async def test_disconnect_ends_the_connection(server: Running, name: str) -> None:
    before = counters(server)
    slow = await overrun(server, f"feeds/{name}", f"tick/{name}/?feed&")

    def reads_to_the_end() -> None:
        with slow, contextlib.suppress(ConnectionError):
            while True:
                slow.receive()

    await asyncio.to_thread(reads_to_the_end)
    assert counted(server, before) == {"connections_overflowed": 1}


@pytest.mark.parametrize("impatient", OURS, indirect=True)
async def test_a_client_that_reads_nothing_for_too_long_is_closed(impatient: Running, name: str) -> None:
    before = counters(impatient)
    slow = await overrun(impatient, f"tickers/{name}", f"tick/{name}/?")

    def is_let_go() -> bool:
        return not impatient.state()["subscriptions"].get(f"tickers/{name}")

    with slow:
        assert await asyncio.to_thread(soon, is_let_go)
    assert counted(impatient, before)["connections_stalled"] == 1


@pytest.mark.parametrize("server", OURS, indirect=True)
async def test_messages_that_come_with_the_handshake_are_answered(server: Running) -> None:
    def early() -> list[str]:
        with Raw(server, early=masked(b'{"type":"hello"}') + masked(b'{"type":"ping"}')) as raw:
            return [raw.receive()["type"], raw.receive()["type"]]

    assert await asyncio.to_thread(early) == ["welcome", "pong"]
