"""Joins of one connection: their answers, the names of topics, and joins that a leave or the close overtakes."""

import asyncio

import pytest

from holdfast.control.commands import TOPIC
from tests.support.clock import in_jumping_time, turns
from tests.support.connected import User
from tests.support.hubs import Scripted

from .rooms import Room, Said, types, world


@in_jumping_time
async def test_connections_of_one_topic_share_the_text_of_its_name() -> None:
    async with world() as here:
        sockets = [await here.connect(User(number)) for number in range(3)]
        for socket in sockets:
            await socket.join("rooms/lobby")
        connections = [socket.connection for socket in sockets]
        names = [name for one in connections for name in (*one._joined, *one._session._topics)]
        names += [joined.topic.name for one in connections for joined in one.joined_topics()]
        assert names == ["rooms/lobby"] * 9
        assert len(set(map(id, names))) == 1


@in_jumping_time
async def test_a_client_cannot_tell_forbidden_unknown_and_failing_topics_apart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as here:
        Scripted().replace(here.runtime.threads)  # each refusal visits a thread
        ada = await here.connect()
        for topic in ("rooms/secret", "rooms/no such", "nothing", "notes/me"):
            ada.ask_to_join(topic)
        errors = await ada.hear()
        assert [frame["payload"]["code"] for frame in errors] == ["forbidden"] * 4
        assert len({frame["payload"]["message"] for frame in errors}) == 1
        ada.ask_to_join("rooms/broken")
        assert (await ada.hear())[0]["payload"]["code"] == "internal"
        ada.ask_to_join("rooms/lobby")
        assert types(await ada.hear()) == ["joined"]


@in_jumping_time
async def test_a_join_by_me_answers_by_the_canonical_name_and_is_one_topic() -> None:
    async with world() as here:
        ada = await here.connect(User(7))
        ada.ask_to_join("notes/me", 1)
        ada.ask_to_join("notes/7", 2)
        frames = await ada.hear()
        assert sorted(types(frames)) == ["error", "joined"]
        assert next(frame["topic"] for frame in frames if frame["type"] == "joined") == "notes/7"


@in_jumping_time
async def test_leaving_and_joining_again_while_the_first_join_is_decided() -> None:
    async with world() as here:
        Room.gate = asyncio.Event()
        ada = await here.connect()
        ada.ask_to_join("rooms/slow", 1)
        await turns()
        ada.say(type="leave", ref=2, topic="rooms/slow")
        ada.ask_to_join("rooms/slow", 3)
        await turns()
        Room.gate.set()
        assert [(frame["type"], frame["ref"]) for frame in await ada.hear()] == [
            ("joined", 1),
            ("left", 2),
            ("joined", 3),
        ]
        await Room(room="slow").apublish(Said(1))
        assert types(await ada.hear()) == ["event"]
        assert len((await here.runtime.hub())._streams["rooms/slow"].subscriptions) == 1


@in_jumping_time
async def test_a_connection_that_closes_while_it_joins_leaves_nothing_behind() -> None:
    async with world() as here:
        Room.gate = asyncio.Event()
        ada = await here.connect()
        ada.ask_to_join("rooms/slow")
        ada.ask_to_join("rooms/lobby", 2)
        await turns()
        ada.connection.closed()
        Room.gate.set()
        await turns()
        hub = await here.runtime.hub()
        assert not any(stream.subscriptions for name, stream in hub._streams.items() if name != TOPIC)
        assert not here.service.connections
