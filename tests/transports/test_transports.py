"""The contract of a transport (``holdfast.connections.transport``), over each one."""

import asyncio
from typing import Any

import pytest

from holdfast import Event, Keep, Slow, Topic, signals
from holdfast.connections.connection import Connection
from holdfast.protocol import codes
from holdfast.protocol.limits import Limits
from holdfast.server.adopted_writer import AdoptedWriter
from holdfast.streams.prepared import Burst, Prepared
from tests.support.clock import in_jumping_time, turns
from tests.support.connected import fleet

from .carriers import CODECS, Carrier

BUFFER = 10_000
STALL_SECONDS = 30.0
HEARTBEAT = 10.0
PATIENT = Limits(heartbeat=1e9, burst=1e9)


class Said(Event):
    n: int
    text: str = ""


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep()

    async def may_join(self, user: Any) -> bool:
        return True


class Price(Topic):
    route = "price"
    events = [Said]
    slow = Slow.conflate()

    async def may_join(self, user: Any) -> bool:
        return True


def serving(limits: Limits = PATIENT) -> Any:
    return fleet(Room, Price, limits=limits, write_buffer_bytes=BUFFER, stall_seconds=STALL_SECONDS)


def offsets(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["offset"] for frame in frames if frame["type"] == "event"]


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


async def publish(count: int, text: str = "") -> None:
    for n in range(count):
        await Room(room="lobby").apublish(Said(n, text))


def test_a_transport_states_its_name_and_its_capabilities(carrier: type[Carrier]) -> None:
    transport = carrier.transport
    assert transport.name
    assert isinstance(transport.duplex, bool)
    assert isinstance(transport.binary, bool)


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", CODECS)
@in_jumping_time
async def test_a_client_is_welcomed_joins_and_receives_events(carrier: type[Carrier], encoding: str) -> None:
    codec: Any = CODECS[encoding]
    if codec.binary and not carrier.transport.binary:
        pytest.skip("a text transport")
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, codec=codec, topics=["rooms/lobby"])
        welcome, joined = await client.hear()
        assert (welcome["type"], welcome["payload"]["user"]) == ("welcome", None)
        assert (joined["type"], joined["ref"], joined["payload"]["offset"]) == ("joined", 1, 0)

        await Room(room="lobby").apublish(Said(7, "Grüße"))
        (event,) = await client.hear()
        assert (event["name"], event["offset"], event["payload"]) == ("said", 1, {"n": 7, "text": "Grüße"})


@in_jumping_time
async def test_initial_joins_are_answered_in_order(carrier: type[Carrier]) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/a", "rooms/b", "nowhere"])
        frames = await client.hear()
        assert types(frames[:1]) == ["welcome"]
        assert sorted((frame["ref"], frame["type"]) for frame in frames[1:]) == [
            (1, "joined"),
            (2, "joined"),
            (3, "error"),
        ]


@in_jumping_time
async def test_answers_and_events_arrive_in_the_order_in_which_they_were_sent(carrier: type[Carrier]) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/lobby"])
        await client.hear()
        received: list[dict[str, Any]] = []
        for n in range(5):
            await publish(10)
            await client.say(type="join", ref=10 + n, topic="nowhere")
            received += await client.hear()
        assert offsets(received) == list(range(1, 51))
        assert [frame["ref"] for frame in received if frame["type"] == "error"] == [10, 11, 12, 13, 14]


@in_jumping_time
async def test_answers_and_events_of_one_turn_of_the_loop_keep_their_order(carrier: type[Carrier]) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service)
        await client.hear()
        connection = client.connection
        for offset in (1, 2):
            connection.receive('{"type":"leave","ref":1,"topic":"nowhere"}')
            connection.write(Burst([Prepared("rooms/lobby", "said", b'{"n":1,"text":""}', offset)]))
        assert types(await client.hear()) == ["error", "event", "error", "event"]


@in_jumping_time
async def test_events_of_one_turn_of_the_loop_all_arrive(carrier: type[Carrier]) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/lobby"])
        await client.hear()
        room = Room(room="lobby")
        await asyncio.gather(*(room.apublish(Said(n)) for n in range(100)))
        assert offsets(await client.hear()) == list(range(1, 101))


# ── a client that does not read ───────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_client_that_reads_again_receives_every_event_once_and_in_order(
    carrier: type[Carrier],
) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/lobby"])
        await client.hear()
        await client.stop_reading()
        await publish(100, "x" * 1000)
        await client.settle()
        assert not client.connection.ready, "100 KB are kept for a client that may have 10 KB"
        assert await client.hear() == []

        await client.read_on()
        assert offsets(await client.hear()) == list(range(1, 101))
        assert client.connection.ready
        await publish(1)
        assert offsets(await client.hear()) == [101]


@in_jumping_time
async def test_a_short_pause_in_reading_does_not_pause_the_connection(carrier: type[Carrier]) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/lobby"])
        await client.hear()
        await client.stop_reading()
        await publish(5, "x" * 1000)
        await client.settle()
        assert client.connection.ready
        await client.read_on()
        assert offsets(await client.hear()) == [1, 2, 3, 4, 5]


@in_jumping_time
async def test_a_client_that_does_not_read_for_too_long_is_closed(carrier: type[Carrier]) -> None:
    async with serving() as here:
        service = here.processes[0].service
        client = await carrier.open(service, topics=["rooms/lobby"])
        await client.hear()
        await client.stop_reading()
        await publish(100, "x" * 1000)
        await asyncio.sleep(min(STALL_SECONDS, carrier.patience) - 5)
        assert service.connections
        await asyncio.sleep(15)
        await client.settle()
        assert not service.connections


@in_jumping_time
async def test_a_client_that_reads_no_answers_is_closed_when_they_exceed_the_bound(
    carrier: type[Carrier],
) -> None:
    async with serving() as here:
        service = here.processes[0].service
        client = await carrier.open(service, topics=["rooms/lobby"])
        await client.hear()
        stalled = (await here.processes[0].runtime.hub()).counters.connections_stalled
        await client.stop_reading()
        for ref in range(300):
            await client.say(type="join", ref=ref, topic="n" * 200)
            if not service.connections:
                break
        await asyncio.sleep(6)
        await client.settle()
        assert not service.connections
        assert (await here.processes[0].runtime.hub()).counters.connections_stalled == stalled + 1


@in_jumping_time
async def test_a_client_of_a_conflating_topic_that_reads_again_receives_the_newest_value(
    carrier: type[Carrier],
) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["price"])
        await client.hear()
        await client.stop_reading()
        for n in range(60):
            await Price().apublish(Said(n, "x" * 1000))
            await client.settle()
        assert client.connection.blocked or not client.connection.ready
        await client.read_on()
        values = [frame["payload"]["n"] for frame in await client.hear()]
        assert values == sorted(values)
        assert values[-1] == 59
        assert len(values) < 30


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_close_comes_after_everything_that_was_sent_and_nothing_comes_after_it(
    carrier: type[Carrier],
) -> None:
    async with serving() as here:
        service = here.processes[0].service
        client = await carrier.open(service, topics=["rooms/lobby"])
        await client.hear()
        connection = client.connection
        await publish(3)
        await turns()  # the events are written, and the client has read none
        connection.hang_up(codes.DISCONNECTED)
        connection.hang_up(codes.FAILED)
        await publish(3)
        frames = await client.hear()
        assert types(frames) == ["event", "event", "event", "goodbye"]
        assert frames[-1]["payload"]["code"] == "disconnected"
        assert client.closed == (codes.DISCONNECTED.close, codes.DISCONNECTED.message)
        await asyncio.sleep(6)
        await client.settle()
        assert not service.connections


@in_jumping_time
async def test_a_client_that_does_not_read_its_close_is_let_go(carrier: type[Carrier]) -> None:
    async with serving() as here:
        service = here.processes[0].service
        client = await carrier.open(service, topics=["rooms/lobby"])
        await client.hear()
        await client.stop_reading()
        await publish(100, "x" * 1000)
        client.connection.hang_up(codes.DISCONNECTED)
        await asyncio.sleep(6)
        await client.settle()
        assert not service.connections


@in_jumping_time
async def test_a_client_that_vanishes_leaves_its_topics(carrier: type[Carrier]) -> None:
    async with serving() as here:
        process = here.processes[0]
        client = await carrier.open(process.service, topics=["rooms/lobby"])
        await client.hear()
        joined = client.connection.joined_topics
        assert len(joined()) == 1
        await client.vanish()
        assert not process.service.connections
        assert not joined()
        await publish(1)
        assert await client.hear() == []


@in_jumping_time
async def test_a_shutdown_says_when_to_reconnect(carrier: type[Carrier]) -> None:
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/lobby"])
        await client.hear()
        client.connection.shut_down(3.2)
        (goodbye,) = await client.hear()
        assert goodbye["payload"] == {"code": "draining", "reconnect": True, "after": 3.2}
        assert client.closed == (codes.DRAINING.close, codes.DRAINING.message)


# ── heartbeats ────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_silent_client_is_closed_on_a_duplex_transport_only(carrier: type[Carrier]) -> None:
    async with serving(Limits(heartbeat=HEARTBEAT)) as here:
        service = here.processes[0].service
        client = await carrier.open(service, topics=["rooms/lobby"])
        client.fall_silent()
        await asyncio.sleep(2.4 * HEARTBEAT)
        assert service.connections
        await asyncio.sleep(HEARTBEAT)
        frames = await client.hear()
        if carrier.transport.duplex:
            assert frames[-1]["payload"]["code"] == "heartbeat_missed"
            assert client.closed == (codes.HEARTBEAT_MISSED.close, codes.HEARTBEAT_MISSED.message)
        else:
            assert client.keepalives(frames) == 3
            assert client.closed is None


@in_jumping_time
async def test_a_client_that_only_answers_probes_stays_connected(carrier: type[Carrier]) -> None:
    if not carrier.transport.duplex:
        pytest.skip("its client is not probed")
    async with serving(Limits(heartbeat=HEARTBEAT)) as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/lobby"])
        connection: Connection = client.connection
        for _ in range(20):
            await asyncio.sleep(HEARTBEAT / 2)
            if "ping" in types(await client.hear()):  # else the probe was one of the transport's own
                await client.say(type="ping")
        assert client.connection is connection
        await publish(1)
        assert offsets(await client.hear()) == [1]


# ── the end of the process ────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_server_that_begins_to_stop_says_goodbye_where_it_would_wait_for_the_client(
    carrier: type[Carrier],
) -> None:
    async with serving() as here:
        service = here.processes[0].service
        client = await carrier.open(service, topics=["rooms/lobby"])
        await client.hear()
        service.runtime.leave()
        assert ("goodbye" in types(await client.hear())) is not carrier.transport.closed_by_server


@in_jumping_time
async def test_a_client_that_comes_while_the_server_stops_is_sent_away_where_it_would_be_waited_for(
    carrier: type[Carrier],
) -> None:
    async with serving() as here:
        service = here.processes[0].service
        service.runtime.leave()
        client = await carrier.open(service, topics=["rooms/lobby"])
        assert ("goodbye" in types(await client.hear())) is not carrier.transport.closed_by_server


# ── notices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_the_beginning_and_the_end_of_a_connection_are_reported(carrier: type[Carrier]) -> None:
    reported: list[tuple[str, Any]] = []

    def accepted(**values: Any) -> None:
        reported.append(("accepted", values))

    def closed(**values: Any) -> None:
        reported.append(("closed", values))

    signals.connection_accepted.connect(accepted)
    signals.connection_closed.connect(closed)
    async with serving() as here:
        client = await carrier.open(here.processes[0].service, topics=["rooms/a"])
        await client.hear()
        number = client.connection.id
        client.connection.hang_up(codes.DISCONNECTED)
        await client.hear()
        await client.vanish()
        await asyncio.sleep(60)
    assert [(name, values["connection_id"]) for name, values in reported] == [
        ("accepted", number),
        ("closed", number),
    ]
    end = reported[-1][1]
    assert (end["transport"], end["code"], end["close_code"]) == (
        carrier.transport.name,
        "disconnected",
        4403,
    )
    counts = not issubclass(carrier.transport, AdoptedWriter)
    assert (end["bytes_sent"] or 0) > 100 if counts else end["bytes_sent"] is None
    assert end["bytes_received"] > 0 if carrier.transport.duplex else end["bytes_received"] == 0
