"""A token that expires ends its connection at its time, with a code after which the client comes back with a newer one."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.signing import SignatureExpired
from django.utils import timezone

from holdfast import Event, Keep, Topic
from holdfast.auth.base import Identity
from holdfast.connections.connection import Connection
from holdfast.protocol.codec import JSON
from tests.support.clock import in_jumping_time
from tests.support.connected import Process, Socket, User, fleet, identity_of

SLACK = 2.2
"""Seconds: the wheel has buckets of one, and turns once in one."""

START = datetime(2030, 1, 1, tzinfo=UTC)


class Said(Event):
    text: str


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep(days=1)

    async def may_join(self, user: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day goes with the clock of the event loop, which jumps."""

    def now() -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    monkeypatch.setattr(timezone, "now", now)


def lasting(seconds: float, user: int = 7) -> Identity:
    return Identity(user=User(user), expires_at=timezone.now() + timedelta(seconds=seconds))


async def opened(process: Process, identity: Identity, **hello: Any) -> Socket:
    hub = await process.runtime.hub()
    socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity))
    socket.say(type="hello", payload=hello)
    await socket.hear()
    return socket


async def seconds_until_closed(socket: Socket, patience: float = 1000) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while socket.closed is None:
        assert loop.time() - begun < patience, "the connection is still open"
        await asyncio.sleep(0.1)
    return loop.time() - begun


@pytest.mark.parametrize("seconds", [3, 40, 500])
@in_jumping_time
async def test_a_connection_ends_within_two_seconds_after_its_token_has_expired(seconds: float) -> None:
    async with fleet(Room) as here:
        socket = await opened(here.processes[0], lasting(seconds))
        assert seconds <= await seconds_until_closed(socket) <= seconds + SLACK
        assert socket.closed == 4041
        goodbye = socket.frames[-1]["payload"]
        assert (goodbye["code"], goodbye["reconnect"]) == ("token_expired", True)


@pytest.mark.parametrize("seconds", [3, 40, 500])
@in_jumping_time
async def test_the_token_of_a_hello_ends_its_connection_too(seconds: float) -> None:
    async with fleet(Room) as here:
        here.tokens["t"] = lasting(seconds)
        socket = await opened(here.processes[0], identity_of(None), token="t")
        assert seconds - 1 <= await seconds_until_closed(socket) <= seconds + SLACK
        assert socket.closed == 4041


@in_jumping_time
async def test_a_refresh_extends_the_connection() -> None:
    async with fleet(Room) as here:
        socket = await opened(here.processes[0], lasting(40))
        here.tokens["newer"] = lasting(400)
        await asyncio.sleep(30)
        socket.say(type="refresh", ref=1, payload={"token": "newer"})
        assert await socket.types() == ["result"]
        assert 368 <= await seconds_until_closed(socket) <= 370 + SLACK


@in_jumping_time
async def test_a_refresh_with_a_token_that_ends_sooner_shortens_the_connection() -> None:
    async with fleet(Room) as here:
        socket = await opened(here.processes[0], lasting(4000))
        here.tokens["short"] = lasting(5)
        socket.say(type="refresh", ref=1, payload={"token": "short"})
        assert await socket.types() == ["result"]
        assert 4 <= await seconds_until_closed(socket) <= 5 + SLACK


@in_jumping_time
async def test_no_event_arrives_after_the_token_has_expired() -> None:
    async with fleet(Room) as here:
        socket = await opened(here.processes[0], lasting(5))
        assert (await socket.join("rooms/a"))["type"] == "joined"
        await asyncio.sleep(7)
        assert socket.closed == 4041
        socket.frames.clear()
        await Room(room="a").apublish(Said("late"))
        assert await socket.hear() == []


@pytest.mark.parametrize("raised", [SignatureExpired("old"), None])
@in_jumping_time
async def test_a_token_that_has_expired_before_the_hello_lets_the_client_ask_for_a_newer_one(
    raised: Exception | None,
) -> None:
    async with fleet(Room) as here:
        process = here.processes[0]
        here.tokens["old"] = lasting(-1)
        if raised is not None:

            async def authenticate(request: Any) -> Identity | None:
                raise raised

            process.service.authenticator.authenticate = authenticate  # type: ignore[method-assign]
        hub = await process.runtime.hub()
        socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity_of(None)))
        socket.say(type="hello", payload={"token": "old"})
        assert [frame["type"] for frame in await socket.hear()] == ["goodbye"]
        assert socket.closed == 4041


@in_jumping_time
async def test_a_refresh_with_an_expired_token_changes_nothing() -> None:
    async with fleet(Room) as here:
        socket = await opened(here.processes[0], lasting(100))
        here.tokens["old"] = lasting(-1)
        socket.say(type="refresh", ref=1, payload={"token": "old"})
        (answer,) = await socket.hear()
        assert (answer["type"], answer["payload"]["code"]) == ("error", "invalid_token")
        assert 98 <= await seconds_until_closed(socket) <= 100 + SLACK


@in_jumping_time
async def test_a_connection_whose_identity_does_not_expire_costs_the_wheel_one_entry() -> None:
    async with fleet(Room) as here:
        process = here.processes[0]
        socket = await opened(process, identity_of(User(7)))
        await asyncio.sleep(100)
        assert len((await process.runtime.hub()).wheel) == 1
        assert socket.closed is None


@in_jumping_time
async def test_many_refreshes_leave_nothing_on_the_wheel() -> None:
    async with fleet(Room) as here:
        process = here.processes[0]
        socket = await opened(process, lasting(4000))
        for number in range(20):
            here.tokens["t"] = lasting(100_000 + number)
            socket.say(type="refresh", ref=number, payload={"token": "t"})
            await socket.hear()
        await asyncio.sleep(100)
        assert len((await process.runtime.hub()).wheel) == 1
