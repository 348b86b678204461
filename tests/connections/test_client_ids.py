"""The id that a client chooses, which is a secret: others see, store and name only a keyed hash of it, bound to the user."""

from typing import Any

import pytest
from django.test import override_settings

import holdfast
from holdfast import Event, Topic, action
from holdfast.log.memory_calls import MemoryCalls
from holdfast.topics.client_id import earlier_ids, public_id
from tests.support.clock import in_jumping_time
from tests.support.connected import Fleet, Socket, User, fleet

SECRET = "b1946ac92492d234"
ADA, EVE = User(1), User(2)


class Said(Event):
    n: int


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    ran: list[int] = []

    async def may_join(self, user: Any) -> bool:
        return True

    @action
    async def say(self, caller: Any, n: int) -> str:
        Room.ran.append(n)
        await self.apublish(Said(n), exclude=caller)
        client: str = caller.client
        return client


@pytest.fixture(autouse=True)
def fresh() -> None:
    Room.ran.clear()


async def connected(world: Fleet, user: User | None, client: str | None = SECRET, process: int = 0) -> Socket:
    socket = await world.processes[process].connect(user, client)
    await socket.join("rooms/lobby")
    return socket


async def call(socket: Socket, n: int, key: str | None = None) -> Any:
    """The result of a call."""
    socket.say(
        type="call",
        ref=9,
        topic="rooms/lobby",
        name="say",
        payload={"n": n},
        **({} if key is None else {"key": key}),
    )
    (answer,) = [frame for frame in await socket.hear() if frame.get("ref") == 9]
    return answer["payload"]


def events(frames: list[Any]) -> list[int]:
    return [frame["payload"]["n"] for frame in frames if frame["type"] == "event"]


@in_jumping_time
async def test_a_client_cannot_exclude_or_silence_another_users_client_by_its_id() -> None:
    async with fleet(Room) as world:
        ada, other_tab = await connected(world, ADA), await connected(world, ADA)
        eve, anonymous = await connected(world, EVE), await connected(world, None)

        await call(eve, 1)  # eve claims ada's id
        await call(anonymous, 2)
        assert events(await ada.hear()) == [1, 2]
        await call(ada, 3)
        assert events(await ada.hear()) == []
        assert events(await other_tab.hear()) == [1, 2], "the same user's client of this id"
        assert events(await eve.hear()) == [2, 3]
        assert events(await anonymous.hear()) == [3]  # 1 came before the answer to its own call


@in_jumping_time
async def test_an_anonymous_clients_id_and_keys_are_stored_and_logged_nowhere() -> None:
    async with fleet(Room) as world:
        socket = await connected(world, None)
        shown = await call(socket, 1, key=f"{SECRET}-1")
        store = world.log.calls
        assert isinstance(store, MemoryCalls)
        kept = repr(vars(store)) + repr(socket.connection) + repr(socket.connection.caller) + shown

        assert SECRET not in kept
        assert shown in kept
        assert socket.connection.owner == f"client:{shown}"


@in_jumping_time
async def test_what_others_see_of_a_client_does_not_make_them_that_client() -> None:
    async with fleet(Room) as world:
        socket = await connected(world, None)
        shown = await call(socket, 1, key="k-1")
        thief = await world.processes[0].connect(None, None)
        thief.say(type="hello", payload={"client": shown})
        assert [frame["payload"]["code"] for frame in await thief.hear()] != []
        other = await connected(world, None, client=shown.strip("~"))
        assert await call(other, 2, key="k-1") != shown
        assert Room.ran == [1, 2]


@in_jumping_time
async def test_a_call_sent_again_to_another_server_finds_its_answer() -> None:
    async with fleet(Room, count=2) as world:
        first = await call(await connected(world, None), 1, key="k-1")
        again = await call(await connected(world, None, process=1), 1, key="k-1")
        assert first == again
        assert Room.ran == [1]


@in_jumping_time
@pytest.mark.parametrize("user", [None, ADA])
async def test_a_call_sent_again_after_the_secret_key_was_replaced_finds_its_answer(
    user: User | None,
) -> None:
    async with fleet(Room, count=2) as world:
        with override_settings(SECRET_KEY="old", SECRET_KEY_FALLBACKS=[]):
            first = await call(await connected(world, user), 1, key="k-1")
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["other", "old"]):
            socket = await connected(world, user, process=1)
            again = await call(socket, 1, key="k-1")
            await call(socket, 2, key="k-2")
            await call(socket, 2, key="k-2")
        assert first == again
        assert Room.ran == [1, 2]


@in_jumping_time
async def test_a_client_without_a_hello_has_a_public_id_too() -> None:
    async with fleet(Room) as world:
        socket = await connected(world, None, client=None)
        shown = await call(socket, 1)
        assert shown == public_id(None, socket.connection.id) != socket.connection.id


def test_a_public_id_depends_on_the_user_the_id_and_the_key() -> None:
    ids = {public_id(user, secret) for user in (None, "1", "2", "1:") for secret in ("a", "b", "1:a", ":a")}
    assert len(ids) == 16
    assert all(shown.startswith("~") and len(shown) <= 64 for shown in ids)
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=["one", b"two"]):
        assert not ids & {public_id(None, "a"), *earlier_ids(None, "a")}
    with override_settings(SECRET_KEY="one"):
        before = public_id(None, "a")
    with override_settings(SECRET_KEY="two", SECRET_KEY_FALLBACKS=["one"]):
        assert earlier_ids(None, "a") == [before]


def test_a_view_names_a_client_of_its_own_user() -> None:
    assert holdfast.client_id(ADA, SECRET) == public_id("1", SECRET)
    assert holdfast.client_id(None, SECRET) == public_id(None, SECRET)
