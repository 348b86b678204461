"""Long polling: lost answers, sessions that are not known, and the time between two requests."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from holdfast import Event, Keep, Presence, Topic
from holdfast.protocol import codes
from holdfast.protocol.event_ids import mark_of
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


class Log(Topic):
    """Durable, and without presence, whose changes are news."""

    route = "logs/<slug:room>"
    events = [Said]
    keep = Keep()

    async def may_join(self, user: Any) -> bool:
        return True


class Mood(Topic):
    """Its events are never stored."""

    route = "moods/<slug:room>"
    events = [Said]

    async def may_join(self, user: Any) -> bool:
        return True


def serving() -> Any:
    return fleet(Room, limits=Limits(heartbeat=1e9))


async def opened(here: Any, **options: Any) -> PollingServer:
    """A client that has read its first answer, and asks only when the test says so."""
    options = {"topics": ["rooms/a"]} | options
    client = await PollingServer.open(here.processes[0].service, **options)
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


@in_jumping_time
async def test_a_request_that_is_cancelled_before_it_has_a_new_connection_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as here:
        service = here.processes[0].service
        client = await opened(here)

        async def begins() -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(service.runtime, "hub", begins)
        # An ack that this session never gave: the session ends, and the request is a handshake.
        asking = asyncio.create_task(client.ask(ack=client.ack + 5))
        await client.settle()
        assert service.boundary._networks == {"203.0.113.7": 1}
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert service.boundary._networks == {}


# ── behind a proxy that sends each request to another server ─────────────────────────────────────────────────────────


class RoundRobin:
    """A client whose requests go to the servers of a fleet in turn."""

    def __init__(self, client: PollingServer, servers: Sequence[LivePolling]) -> None:
        self._client = client
        self._turns = itertools.cycle([*servers[1:], servers[0]])
        self.asked = 0
        self.messages: list[Any] = []

    @classmethod
    async def of(cls, here: Any, **options: Any) -> "RoundRobin":
        servers = [LivePolling(lambda service=each.service: service) for each in here.processes]
        return cls(await opened(here, application=servers[0], **options), servers)

    async def ask(self) -> list[Any]:
        """Send one request with what the last answer said, and return the new messages."""
        client = self._client
        client.application = next(self._turns)
        status, answer = await client.ask()
        assert status == 200, answer
        client.session, client.ack, client.last = answer["session"], answer["ack"], answer["last"]
        self.asked += 1
        self.messages += answer["messages"]
        return list(answer["messages"])

    async def ask_until(self, count: int) -> None:
        while len(self.numbers) < count:
            await self.ask()

    @property
    def numbers(self) -> list[int]:
        return numbers({"messages": self.messages})

    @property
    def joins(self) -> list[Any]:
        return [frame["payload"] for frame in self.messages if frame["type"] == "joined"]


@in_jumping_time
async def test_requests_that_alternate_between_two_servers_get_each_event_once_and_in_order() -> None:
    async with fleet(Room, count=2, limits=Limits(heartbeat=1e9)) as here:
        client = await RoundRobin.of(here)
        asking = asyncio.create_task(client.ask_until(200))
        for number in range(1, 201):
            await Room(room="a").apublish(Said(number))
            if number % 7 == 0:
                await asyncio.sleep(0.01)
        await asking
        assert client.numbers == list(range(1, 201))
        assert all(joined["recovered"] is True for joined in client.joins)


@in_jumping_time
@pytest.mark.parametrize("topic", ["logs/a", "moods/a"])
async def test_such_a_request_waits_for_news_like_any_other(topic: str) -> None:
    async with fleet(Log, Mood, count=2, limits=Limits(heartbeat=1e9)) as here:
        client = await RoundRobin.of(here, topics=[topic])
        loop = asyncio.get_running_loop()
        before = loop.time()
        for _ in range(4):
            await client.ask()
        assert loop.time() - before >= 4 * WAIT_SECONDS


@in_jumping_time
async def test_such_a_client_hears_at_once_that_events_are_gone() -> None:
    async with fleet(Room, count=2, limits=Limits(heartbeat=1e9)) as here:
        client = await opened(here)
        before = asyncio.get_running_loop().time()
        client.application = LivePolling(lambda: here.processes[1].service)
        _, answer = await client.ask(**{"last-event-id": f"{mark_of('rooms/a')}@zz:7"})
        assert [frame["type"] for frame in answer["messages"]] == ["welcome", "joined"]
        assert answer["messages"][1]["payload"]["recovered"] is False
        assert asyncio.get_running_loop().time() - before < 1


@in_jumping_time
async def test_such_a_client_has_one_connection_on_each_server_however_often_it_asks() -> None:
    async with fleet(Room, count=2, limits=Limits(heartbeat=1e9)) as here:
        client = await RoundRobin.of(here)
        for number in range(1, 31):
            await Room(room="a").apublish(Said(number))
            await client.ask_until(number)
        assert [len(each.service.connections) for each in here.processes] == [1, 1]
