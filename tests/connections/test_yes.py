"""A rule that is not sure lets no client in: only ``True`` is a yes, wherever a rule is asked."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast import Topic, action
from holdfast.topics import rule
from tests.support.clock import in_jumping_time
from tests.support.connected import Socket, User, fleet
from tests.support.hubs import Scripted

said: list[str] = []
answers: dict[str, Any] = {}


async def looked_up(user: Any) -> bool:
    return False


class Hall(Topic):
    """The attack: a ``def`` that returns the coroutine of an ``async`` helper, which is true and never awaited."""

    route = "halls/<int:hall>"

    def may_join(self, user: Any) -> Any:
        return answers.get("join", looked_up)(user)

    def may_call(self, caller: Any, action: str) -> Any:
        return answers.get("call", looked_up)(caller)

    @action
    def shout(self, caller: Any) -> None:
        said.append("shout")

    @action
    async def whisper(self, caller: Any) -> None:
        said.append("whisper")


class Room(Hall):
    """The same on the event loop."""

    route = "rooms/<int:room>"

    async def may_join(self, user: Any) -> Any:
        return answers.get("join", looked_up)(user)

    async def may_call(self, caller: Any, action: str) -> Any:
        return answers.get("call", looked_up)(caller)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    said.clear()
    answers.clear()
    rule._logged.clear()


def yes(_: Any) -> bool:
    return True


def truthy(_: Any) -> Any:
    return "yes"


@pytest.mark.parametrize("answer", [looked_up, truthy])
@pytest.mark.parametrize("topic", ["halls/1", "rooms/1"])
@in_jumping_time
async def test_a_rule_that_returns_an_awaitable_or_an_object_admits_no_client(
    topic: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet(Hall, Room) as here:
        Scripted().replace(here.processes[0].runtime.threads)
        answers["join"] = answer
        socket: Socket = await here.processes[0].connect(User(1))
        refused = await socket.join(topic)
        unknown = await socket.join("nothing/1", ref=2)
        assert refused["payload"] == unknown["payload"]
        assert "may_join returned" in caplog.text


async def heard(socket: Socket, count: int = 1) -> list[dict[str, Any]]:
    """The next frames, for which a worker thread is needed."""
    frames: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(frames) < count:
            frames += await socket.hear()
            await asyncio.sleep(0.01)
    return frames


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answer", [looked_up, truthy])
@pytest.mark.parametrize("name", ["shout", "whisper"])
@pytest.mark.parametrize("topic", ["halls/1", "rooms/1"])
async def test_no_action_runs_for_it_either(
    topic: str, name: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet(Hall, Room) as here:
        answers.update(join=yes, call=answer)
        socket: Socket = await here.processes[0].connect(User(1))
        socket.ask_to_join(topic)
        assert (await heard(socket))[0]["type"] == "joined"
        socket.ask(topic, name)
        (frame,) = await heard(socket)
        assert (frame["payload"]["code"], said) == ("forbidden", [])
        assert "may_call returned" in caplog.text
        answers["call"] = yes
        socket.ask(topic, name)
        await heard(socket)
        assert said == [name]


@pytest.mark.parametrize("topic", ["halls/1", "rooms/1"])
@in_jumping_time
async def test_at_a_recheck_it_ends_the_subscription(topic: str, caplog: pytest.LogCaptureFixture) -> None:
    async with fleet(Hall, Room, reauthorize_seconds=300) as here:
        Scripted().replace(here.processes[0].runtime.threads)
        answers["join"] = yes
        socket: Socket = await here.processes[0].connect(User(1))
        await socket.join(topic)
        answers["join"] = looked_up
        await asyncio.sleep(450)
        (frame,) = await socket.hear()
        assert (frame["type"], frame["payload"]["code"]) == ("left", "forbidden")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("topic", ["halls/1", "rooms/1"])
async def test_at_a_call_that_asks_again_it_ends_the_subscription(topic: str) -> None:
    async with fleet(Hall, Room, recheck_seconds=0.0) as here:
        answers.update(join=yes, call=yes)
        socket: Socket = await here.processes[0].connect(User(1))
        socket.ask_to_join(topic)
        assert (await heard(socket))[0]["type"] == "joined"
        answers["join"] = looked_up
        socket.ask(topic, "shout")
        error, left = await heard(socket, 2)
        assert (error["payload"]["code"], left["type"], said) == ("forbidden", "left", [])
