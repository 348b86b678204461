"""One connection with its session, its hub and its transport, from the join to the close."""

import asyncio

import msgspec
import pytest

from holdfast.connections.connection import Connection
from holdfast.protocol import codes
from holdfast.protocol.codec import JSON
from holdfast.protocol.limits import Limits
from tests.support.clock import in_jumping_time
from tests.support.connected import Socket, User
from tests.support.identities import ANONYMOUS

from .rooms import Prices, Room, Said, types, world


@in_jumping_time
async def test_a_client_joins_calls_and_another_hears_it() -> None:
    async with world() as here:
        ada, grace = await here.connect(User(1)), await here.connect(User(2))
        for socket in (ada, grace):
            socket.ask_to_join("rooms/lobby")
            assert types(await socket.hear()) == ["joined"]
        ada.say(type="call", ref=2, topic="rooms/lobby", name="say", payload={"n": 5})
        assert await ada.hear() == [{"type": "result", "ref": 2, "payload": 5}]
        (event,) = await grace.hear()
        assert (event["name"], event["offset"], event["payload"]) == ("said", 1, {"n": 5})


@in_jumping_time
async def test_no_event_is_written_after_the_goodbye() -> None:
    async with world() as here:
        Room.gate = asyncio.Event()
        ada = await here.connect()
        ada.ask_to_join("rooms/lobby")
        ada.ask_to_join("rooms/slow", 2)
        await ada.hear()
        ada.connection.hang_up(codes.DRAINING)
        Room.gate.set()
        await Room(room="lobby").apublish(Said(1))
        ada.connection.resumed()
        (await here.runtime.hub()).interrupted()
        assert types(await ada.hear()) == ["goodbye"]
        assert ada.closed == 4000


@in_jumping_time
async def test_a_client_that_does_not_read_is_served_from_the_log_when_it_does() -> None:
    async with world() as here:
        ada = await here.connect()
        ada.ask_to_join("rooms/lobby")
        await ada.hear()
        ada.connection.paused()
        for n in range(5):
            await Room(room="lobby").apublish(Said(n))
        assert await ada.hear() == []
        ada.connection.resumed()
        assert [frame["offset"] for frame in await ada.hear()] == [1, 2, 3, 4, 5]


@in_jumping_time
async def test_a_client_that_does_not_read_for_too_long_is_closed() -> None:
    async with world(stall_seconds=10, limits=Limits(heartbeat=25)) as here:
        ada = await here.connect()
        await asyncio.sleep(7)
        ada.connection.paused()
        await asyncio.sleep(9)
        assert ada.closed is None
        await asyncio.sleep(3)
        assert ada.closed == codes.STALLED.close


@in_jumping_time
async def test_newer_events_take_the_place_of_older_ones_as_soon_as_the_socket_is_full() -> None:
    async with world() as here:
        ada = await here.connect()
        await ada.join("rooms/lobby")
        await ada.join("notes/me")
        before = ada.reports_blocking
        await ada.join("prices", ref=2)
        assert (before, ada.reports_blocking) == (False, True)

        ada.connection.socket_full()
        for n in range(5):
            await Prices().apublish(Said(n))
        await Room(room="lobby").apublish(Said(7))
        assert [frame["payload"]["n"] for frame in await ada.hear()] == [7], (
            "other topics fill the write buffer"
        )

        ada.connection.resumed()
        assert [frame["payload"]["n"] for frame in await ada.hear()] == [4]


@in_jumping_time
async def test_a_client_whose_socket_stays_full_for_too_long_is_closed() -> None:
    async with world(stall_seconds=10, limits=Limits(heartbeat=25)) as here:
        ada = await here.connect()
        ada.connection.socket_full()
        await asyncio.sleep(9)
        assert ada.closed is None
        await asyncio.sleep(3)
        assert ada.closed == codes.STALLED.close


@in_jumping_time
async def test_a_client_that_pauses_often_has_one_check_pending() -> None:
    async with world(stall_seconds=10) as here:
        ada = await here.connect()
        for _ in range(1000):
            ada.connection.paused()
            ada.connection.resumed()
        assert len((await here.runtime.hub()).wheel) == 1
        await asyncio.sleep(60)
        assert len((await here.runtime.hub()).wheel) == 1
        assert ada.closed is None


@in_jumping_time
async def test_a_silent_client_is_pinged_then_closed_and_no_longer_checked() -> None:
    async with world(limits=Limits(heartbeat=10)) as here:
        ada = await here.connect()
        await asyncio.sleep(17)
        assert (ada.closed, types(await ada.hear())) == (None, ["ping"])
        await asyncio.sleep(10)
        assert (ada.closed, types(await ada.hear())) == (codes.HEARTBEAT_MISSED.close, ["goodbye"])
        assert len((await here.runtime.hub()).wheel) == 0


@in_jumping_time
@pytest.mark.parametrize("sees_pings", [True, False])
async def test_a_client_that_only_answers_is_kept(monkeypatch: pytest.MonkeyPatch, sees_pings: bool) -> None:
    """A hidden tab for an hour: its browser runs timers once a minute."""
    async with world(limits=Limits(heartbeat=10), stall_seconds=1000) as here:
        ada = await here.connect()
        probes = 0

        def probe(_: object) -> bool:
            nonlocal probes
            probes += sees_pings
            return sees_pings

        monkeypatch.setattr(type(ada), "probe", probe)
        for _ in range(360):
            await asyncio.sleep(10)
            heard = types(await ada.hear())
            assert (ada.closed, set(heard) <= {"ping", "pong"}) == (None, True)
            if "ping" in heard:
                assert not sees_pings
                ada.say(type="ping")
            elif probes:
                probes = 0
                ada.connection.show_life()


@in_jumping_time
async def test_a_client_that_keeps_its_heartbeat_is_never_pinged() -> None:
    async with world(limits=Limits(heartbeat=10)) as here:
        ada = await here.connect()
        for _ in range(30):
            await asyncio.sleep(10)
            ada.say(type="ping")
            assert types(await ada.hear()) == ["pong"]


@in_jumping_time
async def test_an_event_that_cannot_be_written_ends_the_connection_and_is_not_skipped() -> None:
    async with world() as here:
        ada = await here.connect()
        ada.ask_to_join("rooms/lobby")
        await ada.hear()
        ada.unwritable = b'{"n":666}'
        for n in (1, 666, 2):
            await Room(room="lobby").apublish(Said(n))
        assert types(await ada.hear()) == ["event", "goodbye"]
        assert ada.closed == codes.FAILED.close


@in_jumping_time
async def test_a_refresh_by_another_user_never_becomes_the_caller() -> None:
    async with world() as here:
        here.fleet.tokens["eve's"] = User(2)
        ada = await here.connect(User(1))
        ada.say(type="refresh", ref=1, payload={"token": "eve's"})
        assert types(await ada.hear()) == ["goodbye"]
        assert ada.connection.caller.user_id == "1"


@in_jumping_time
async def test_a_token_in_the_hello_sets_the_user() -> None:
    async with world() as here:
        here.fleet.tokens["t"] = User(9)
        hub = await here.runtime.hub()
        ada = Socket(lambda sink: Connection(here.service, hub, sink, JSON, ANONYMOUS))
        ada.say(type="hello", payload={"token": "t", "client": "c1"})
        ada.ask_to_join("notes/me")
        welcome, joined = await ada.hear()
        assert (welcome["payload"]["user"], joined["topic"]) == ("9", "notes/9")
        assert ada.connection.caller.owner == "user:9"


@pytest.mark.parametrize("address", [None, "192.0.2.1"])
@pytest.mark.parametrize("user", [None, User(7), User(10**300)], ids=["anonymous", "signed in", "long key"])
async def test_the_limit_key_of_a_connection_is_that_of_its_caller(
    user: User | None, address: str | None
) -> None:
    async with world() as here:
        connection = (await here.connect(user)).connection
        connection.identity = msgspec.structs.replace(connection.identity, address=address)
        assert connection.limit_key == connection.caller.limit_key


@in_jumping_time
async def test_a_message_that_the_server_fails_to_handle_closes_the_connection_with_a_retry() -> None:
    async with world() as here:
        socket = await here.connect(User(1))
        socket.ask_to_join("rooms/lobby")
        assert types(await socket.hear()) == ["joined"]
        here.service.calls.request = None  # type: ignore[method-assign, assignment]
        socket.say(type="call", ref=2, topic="rooms/lobby", name="say", payload={"n": 5})
        (goodbye,) = await socket.hear()
        assert goodbye["payload"] == {"code": "failed", "reconnect": True}
        assert socket.closed == 4050


@in_jumping_time
async def test_a_connection_that_cannot_be_written_to_keeps_no_answer_from_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both wait for one call, which the client has sent again."""

    def fail(data: str | bytes) -> None:
        raise ConnectionError

    async with world() as here:
        first, second = [await here.connect(User(1)) for _ in range(2)]
        for socket in (first, second):
            await socket.join("rooms/lobby")
        for socket in (first, second):
            socket.say(type="call", ref=9, topic="rooms/lobby", name="say", key="k", payload={"n": 1})
        first.send = fail  # type: ignore[method-assign]
        assert [frame["payload"] for frame in await second.hear() if frame["type"] == "result"] == [1]
        assert "rooms/lobby say: the answer could not be passed on to a connection" in caplog.text
        assert here.service.calls.running == 0
