"""An application that takes its events slowly, or awaits an answer while events wait, in simulated time."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from holdfast.client import ClientError, RemoteEvent, RemoteLive, RemoteReset, RemoteTopic
from holdfast.client.backoff import Backoff
from holdfast.client.read_ahead import HELD, WAITING
from holdfast.protocol.positions import Position

from .behaviour import end_all
from .fake_server import FakeServer
from .simulated_time import SimulatedLoop, settle

LIMITS = {"message_bytes": 65536, "topics": 100, "calls": 32}


class Stage:
    """A client and the server that it talks to."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.server = FakeServer()
        self.live = RemoteLive(
            "ws://server/live/ws",
            token=None,
            client="a" * 32,
            backoff=Backoff(lambda: 0.5, base=1.0, cap=30.0),
            chance=lambda: 0.5,
            open_socket=self.server.open_socket,
        )

    def say(self, **message: Any) -> None:
        self.server.socket.say_text(json.dumps(message))

    def event(self, offset: int | None, topic: str = "a") -> None:
        place = {} if offset is None else {"offset": offset}
        self.say(type="event", topic=topic, name="said", payload={"n": offset}, **place)

    def sent(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.server.socket.sent if message["type"] == kind]

    @property
    def unread(self) -> int:
        """Messages that the client has not read from its socket."""
        return self.server.socket.unread

    async def flood(self, count: int) -> None:
        """Say events from offset 1 on, and let the client read all that it will read."""
        for offset in range(1, count + 1):
            self.event(offset)
        await self.settle()

    async def settle(self) -> None:
        """Let the client read all that it will read."""
        before = -1
        while before != self.unread:
            before = self.unread
            await settle()

    async def enter(self) -> None:
        entering = asyncio.create_task(self.live.__aenter__())
        await settle()
        await self.welcome()
        await entering

    async def welcome(self) -> None:
        self.server.socket.open()
        await settle()
        self.say(type="welcome", payload={"session": "s1", "user": "7", "heartbeat": 25, "limits": LIMITS})
        await settle()

    async def join(self, topic: str = "a", *, durable: bool = True) -> RemoteTopic:
        since = Position(epoch="e", offset=0) if durable else None
        joining = asyncio.create_task(self.live.join(topic, since=since))
        await settle()
        self.joined(topic, durable=durable)
        return await joining

    def joined(self, topic: str = "a", *, durable: bool = True) -> None:
        place = {"epoch": "e", "offset": 0, "recovered": True} if durable else {}
        self.say(type="joined", ref=self.sent("join")[-1]["ref"], topic=topic, payload=place)


def run(play: Coroutine[Any, Any, None], loop: SimulatedLoop) -> None:
    try:
        loop.run_until_complete(asyncio.wait_for(play, 3600.0))
    finally:
        loop.run_until_complete(end_all())
        loop.close()


@pytest.fixture
def stage() -> Stage:
    return Stage(SimulatedLoop())


async def number_of(items: Any) -> int:
    item = await anext(items)
    assert isinstance(item, RemoteEvent), item
    return int(item.payload["n"])


def test_a_call_for_each_event_of_a_long_backlog_is_answered(stage: Stage) -> None:
    async def play() -> None:
        await stage.enter()
        topic = await stage.join()
        await stage.flood(3 * WAITING)
        items = aiter(topic)
        for expected in range(1, 11):
            assert await number_of(items) == expected
            calling = asyncio.create_task(topic.call("tick"))
            await settle()
            stage.say(type="result", ref=stage.sent("call")[-1]["ref"], payload=expected)
            await stage.settle()
            assert calling.done()
            assert await calling == expected

    run(play(), stage.loop)


def test_a_join_is_answered_while_events_of_another_topic_wait(stage: Stage) -> None:
    async def play() -> None:
        await stage.enter()
        await stage.join()
        await stage.flood(3 * WAITING)
        joining = asyncio.create_task(stage.join("b"))
        await stage.settle()
        assert joining.done()

    run(play(), stage.loop)


def test_a_client_reads_nothing_for_an_application_that_takes_nothing(stage: Stage) -> None:
    async def play() -> None:
        await stage.enter()
        topic = await stage.join()
        await stage.flood(3 * WAITING)
        assert stage.unread >= 2 * WAITING - 2
        items = aiter(topic)
        assert [await number_of(items) for _ in range(3 * WAITING)] == list(range(1, 3 * WAITING + 1))
        await stage.settle()
        assert stage.unread == 0

    run(play(), stage.loop)


def test_a_client_that_reads_nothing_does_not_take_the_server_for_dead(stage: Stage) -> None:
    async def play() -> None:
        await stage.enter()
        topic = await stage.join()
        await stage.flood(2 * WAITING)
        for _ in range(30):
            await stage.loop.advance(20.0)
        assert len(stage.server.sockets) == 1
        assert len(stage.sent("ping")) >= 20
        items = aiter(topic)
        for _ in range(2 * WAITING):
            await number_of(items)
        await stage.settle()
        await stage.loop.advance(60.0)
        assert len(stage.server.sockets) == 2, "it reads again, and the server has been silent since"

    run(play(), stage.loop)


def test_events_beyond_the_bound_are_read_again_from_their_position(stage: Stage) -> None:
    beyond = HELD + 50

    async def play() -> None:
        await stage.enter()
        topic = await stage.join()
        calling = asyncio.create_task(topic.call("tick"))
        await stage.flood(beyond)
        assert stage.unread == 0
        stage.say(type="result", ref=stage.sent("call")[-1]["ref"], payload=None)
        await stage.settle()
        assert calling.done()
        items = aiter(topic)
        taken = [await number_of(items) for _ in range(HELD)]
        await stage.settle()
        (left,) = stage.sent("leave")
        stage.say(type="left", ref=left["ref"], topic="a")
        await stage.settle()
        again = stage.sent("join")[-1]
        assert again["payload"]["since"] == {"epoch": "e", "offset": HELD}
        stage.joined()
        for offset in range(HELD + 1, beyond + 1):
            stage.event(offset)
        await stage.settle()
        taken += [await number_of(items) for _ in range(50)]
        assert taken == list(range(1, beyond + 1))

    run(play(), stage.loop)


def test_an_ephemeral_topic_reports_what_was_dropped_beyond_the_bound(stage: Stage) -> None:
    async def play() -> None:
        await stage.enter()
        topic = await stage.join(durable=False)
        calling = asyncio.create_task(topic.call("tick"))
        for _ in range(HELD + 50):
            stage.event(None)
        await stage.settle()
        calling.cancel()
        items = aiter(topic)
        taken = [await anext(items) for _ in range(HELD + 1)]
        assert [item for item in taken if isinstance(item, RemoteReset)] == [
            RemoteReset(topic="a", reason="interrupted")
        ]
        assert stage.sent("leave") == []

    run(play(), stage.loop)


def test_leaving_a_topic_that_is_full_lets_the_client_read_on(stage: Stage) -> None:
    async def play() -> None:
        await stage.enter()
        topic = await stage.join()
        await stage.flood(3 * WAITING)
        await topic.leave()
        await stage.settle()
        assert stage.unread == 0

    run(play(), stage.loop)


def failing(error: Exception) -> Any:
    def open_socket(url: str) -> AbstractAsyncContextManager[Any]:
        raise error

    return open_socket


def test_an_unexpected_error_at_the_first_attempt_is_raised(stage: Stage) -> None:
    stage.live._open_socket = failing(TypeError("unexpected option"))

    async def play() -> None:
        with pytest.raises(TypeError, match="unexpected option"):
            await stage.live.__aenter__()

    run(play(), stage.loop)


def test_an_unexpected_error_later_ends_what_waits_and_is_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        await stage.enter()
        topic = await stage.join()
        calling = asyncio.create_task(topic.call("tick"))
        await settle()
        stage.live._open_socket = failing(TypeError("unexpected option"))
        stage.server.socket.drop(1006)
        await stage.loop.advance(60.0)
        with pytest.raises(ClientError, match="unexpected option") as failed:
            await calling
        assert failed.value.code == "failed"
        with pytest.raises(ClientError):
            await anext(aiter(topic))
        assert stage.live.error is not None

    run(play(), stage.loop)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "does not connect again" in record.getMessage()
