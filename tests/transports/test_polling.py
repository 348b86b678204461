"""Long polling: lost answers, sessions that are not known, and the time between two requests."""

import asyncio
import json
from typing import Any, ClassVar

from holdfast import Event, Keep, Presence, Topic
from holdfast.protocol import codes
from holdfast.protocol.limits import Limits
from holdfast.transports.polling import LINGER_SECONDS, WAIT_SECONDS, LivePolling
from tests.support.clock import in_jumping_time
from tests.support.connected import fleet

from .carriers import PollingServer


class Said(Event):
    n: int


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep()
    presence = Presence()
    refused: ClassVar[set[str]] = set()

    async def may_join(self, user: Any) -> bool:
        return self.room not in self.refused


def serving() -> Any:
    return fleet(Room, limits=Limits(heartbeat=1e9))


async def opened(here: Any, **options: Any) -> PollingServer:
    """A client that has read its first answer, and asks only when the test says so."""
    client = await PollingServer.open(here.processes[0].service, topics=["rooms/a"], **options)
    await client.hear()
    await client.stop_reading()
    return client


def numbers(answer: Any) -> list[int]:
    return [frame["payload"]["n"] for frame in answer["messages"] if frame["type"] == "event"]


@in_jumping_time
async def test_an_answer_that_was_lost_is_given_again() -> None:
    async with serving() as here:
        client = await opened(here)
        await Room(room="a").apublish(Said(1))
        _, lost = await client.ask()
        _, again = await client.ask()
        assert again == lost
        assert numbers(again) == [1]
        await Room(room="a").apublish(Said(2))
        _, following = await client.ask(ack=again["ack"])
        assert numbers(following) == [2]


@in_jumping_time
async def test_a_session_that_is_not_known_resumes_from_the_last_id() -> None:
    async with serving() as here:
        client = await opened(here)
        await Room(room="a").apublish(Said(1))
        elsewhere = await PollingServer.open(
            here.processes[0].service,
            topics=["rooms/a"],
            last_event_id=client.last,
            application=LivePolling(lambda: here.processes[0].service),
        )
        frames = await elsewhere.hear()
        assert [frame["payload"]["n"] for frame in frames if frame["type"] == "event"] == [1]
        assert next(frame for frame in frames if frame["type"] == "joined")["payload"]["recovered"] is True
        await elsewhere.stop_reading()


@in_jumping_time
async def test_a_topic_that_is_refused_for_a_while_resumes_where_it_was() -> None:
    async with serving() as here:
        service = here.processes[0].service
        last = ""
        for refused in (False, True, False):
            Room.refused = {"b"} if refused else set()
            client = await PollingServer.open(service, topics=["rooms/a", "rooms/b"], last_event_id=last)
            heard = await client.hear()
            await client.stop_reading()
            last = client.last
            await Room(room="b").apublish(Said(int(refused)))
        assert numbers({"messages": heard}) == [0, 1]


@in_jumping_time
async def test_a_connection_lingers_between_two_requests_and_ends_when_no_request_follows() -> None:
    async with serving() as here:
        service = here.processes[0].service
        client = await opened(here)
        await asyncio.sleep(LINGER_SECONDS - 1)
        assert len(service.connections) == 1
        await Room(room="a").apublish(Said(1))
        await client.ask()
        await asyncio.sleep(LINGER_SECONDS - 1)
        assert len(service.connections) == 1
        await asyncio.sleep(2)
        assert not service.connections


@in_jumping_time
async def test_a_connection_that_the_server_closed_is_counted_out_once() -> None:
    """Its session lingers. If its end counted again, an address could have any number of connections."""
    async with serving() as here:
        service = here.processes[0].service
        await opened(here)
        [connection] = service.connections
        connection.hang_up(codes.TOKEN_EXPIRED)
        await asyncio.sleep(LINGER_SECONDS - 1)
        await opened(here, client="eve")
        assert service.boundary.counts() == {"address:203.0.113.7": 1}
        await asyncio.sleep(2)
        assert service.boundary.counts() == {"address:203.0.113.7": 1}


@in_jumping_time
async def test_a_request_without_news_is_answered_after_a_while() -> None:
    async with serving() as here:
        client = await opened(here)
        before = asyncio.get_running_loop().time()
        status, answer = await client.ask()
        assert (status, answer["messages"]) == (200, [])
        assert asyncio.get_running_loop().time() - before >= WAIT_SECONDS


@in_jumping_time
async def test_a_newer_request_takes_the_place_of_an_older_one() -> None:
    async with serving() as here:
        client = await opened(here)
        older = asyncio.create_task(client.ask())
        await client.settle()
        newer = asyncio.create_task(client.ask())
        await client.settle()
        assert (await older)[0] == 409
        await Room(room="a").apublish(Said(1))
        assert numbers((await newer)[1]) == [1]


@in_jumping_time
async def test_a_session_is_of_no_use_to_another_client() -> None:
    async with serving() as here:
        client = await opened(here, client="ada")
        thief = await PollingServer.open(
            here.processes[0].service, topics=["rooms/a"], client="eve", application=client.application
        )
        await thief.stop_reading()
        _, answer = await thief.ask(session=client.session, ack=client.ack)
        assert answer["session"] != client.session


@in_jumping_time
async def test_events_that_wait_too_long_are_read_from_the_log_later() -> None:
    async with fleet(Room, limits=Limits(heartbeat=1e9), write_buffer_bytes=2_000) as here:
        client = await opened(here)
        for n in range(200):
            await Room(room="a").apublish(Said(n))
        await client.settle()
        assert not client.connection.ready
        got: list[int] = []
        while len(got) < 200:
            _, answer = await client.ask()
            client.ack, client.last = answer["ack"], answer["last"]
            got += numbers(answer)
            assert len(json.dumps(answer)) < 50_000
            await client.settle()
        assert got == list(range(200))


@in_jumping_time
async def test_a_connection_that_ends_and_then_expires_is_counted_out_once() -> None:
    async with serving() as here:
        service = here.processes[0].service
        boundary, now = service.boundary, asyncio.get_running_loop().time()
        other = await boundary.admit("203.0.113.7", now)
        client = await PollingServer.open(service, topics=["rooms/a"], address="203.0.113.7")
        await client.hear()
        client.connection.hang_up(codes.DISCONNECTED)
        await asyncio.sleep(2 * LINGER_SECONDS)
        assert boundary._networks == {"203.0.113.7": 1}
        other.end()
        assert boundary._networks == {}
