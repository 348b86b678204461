"""Permissions that actions require: for how long a connection keeps a yes."""

import asyncio
from typing import Any

import pytest

import holdfast
from holdfast import Topic, action
from tests.support.clock import in_jumping_time
from tests.support.connected import Socket, User, fleet
from tests.support.hubs import Scripted


class Sailor(User):
    """A user of a project's own kind."""

    asked: int = 0
    allowed: Any = True

    def has_perms(self, permissions: Any) -> Any:
        Sailor.asked += 1
        return Sailor.allowed


class Bridge(Topic):
    route = "bridges/<int:bridge>"

    async def may_join(self, user: Any) -> bool:
        return True

    @action(requires="ships.steer")
    async def steer(self, caller: Any) -> str:
        return "done"

    @action(requires="ships.stop")
    async def stop(self, caller: Any) -> str:
        return "done"

    @action
    async def look(self, caller: Any) -> str:
        return "done"


@pytest.fixture(autouse=True)
def _clean() -> None:
    Sailor.asked, Sailor.allowed = 0, True


async def aboard(here: Any, pk: int = 1) -> Socket:
    Scripted().replace(here.processes[0].runtime.threads)
    socket: Socket = await here.processes[0].connect(Sailor(pk))
    assert (await socket.join("bridges/1"))["type"] == "joined"
    return socket


async def call(socket: Socket, name: str) -> str:
    """The type of the answer, or its code."""
    socket.ask("bridges/1", name)
    (frame,) = [frame for frame in await socket.hear() if frame.get("ref") == 9]
    payload = frame["payload"]
    return str(payload["code"] if frame["type"] == "error" else payload)


@in_jumping_time
async def test_a_yes_holds_for_one_action_on_one_connection_and_no_longer_than_the_setting_says() -> None:
    async with fleet(Bridge, recheck_seconds=5.0) as here:
        socket, other = await aboard(here), await aboard(here)
        assert [await call(socket, "steer") for _ in range(3)] == ["done"] * 3
        assert Sailor.asked == 1
        await call(socket, "stop")
        await call(other, "steer")
        assert Sailor.asked == 3
        Sailor.allowed = False
        assert (await call(socket, "steer"), Sailor.asked) == ("done", 3)
        await asyncio.sleep(5.1)
        assert (await call(socket, "steer"), Sailor.asked) == ("forbidden", 4)


@in_jumping_time
async def test_a_no_is_not_kept() -> None:
    async with fleet(Bridge, recheck_seconds=5.0) as here:
        socket = await aboard(here)
        Sailor.allowed = False
        assert await call(socket, "steer") == "forbidden"
        Sailor.allowed = True
        assert await call(socket, "steer") == "done"


@in_jumping_time
async def test_a_revocation_ends_what_was_kept() -> None:
    async with fleet(Bridge, recheck_seconds=3600.0) as here:
        socket = await aboard(here)
        await call(socket, "steer")
        Sailor.allowed = False
        assert await call(socket, "steer") == "done"
        await holdfast.arecheck(1)
        assert await call(socket, "steer") == "forbidden"


@in_jumping_time
async def test_another_user_object_is_asked_about_again() -> None:
    async with fleet(Bridge, recheck_seconds=3600.0) as here:
        socket = await aboard(here)
        await call(socket, "steer")
        Sailor.allowed = False
        socket.connection.renew(socket.connection.identity.with_token("").identify(Sailor(1)))
        assert await call(socket, "steer") == "forbidden"


@in_jumping_time
async def test_a_connection_that_calls_no_such_action_keeps_nothing() -> None:
    async with fleet(Bridge) as here:
        socket = await aboard(here)
        await call(socket, "look")
        (joined,) = socket.connection.joined_topics()
        assert (joined.permitted, Sailor.asked) == (None, 0)


@pytest.mark.parametrize("answer", [1, "yes", None, [True]])
@in_jumping_time
async def test_only_true_is_a_yes_here_too(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with fleet(Bridge) as here:
        socket = await aboard(here)
        Sailor.allowed = answer
        assert await call(socket, "steer") == "forbidden"
        assert "has_perms() returned" in caplog.text
