"""Presence of a topic: its declaration, its members in Python, and what clients see."""

import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from holdfast import Keep, Member, Presence, Topic
from holdfast.log.memory import MemoryLog
from holdfast.testing import AsyncLive, AsyncLiveClient, JoinError, Live
from holdfast.topics.registry import registry


def user(pk: int | str) -> Any:
    return SimpleNamespace(pk=pk, is_authenticated=True, name=f"user {pk}")


class Room(Topic):
    route = "rooms/<slug:room>"
    presence = Presence()
    room: str

    async def may_join(self, user: Any) -> bool:
        return True

    async def presence_meta(self, user: Any) -> dict[str, str]:
        if self.room == "large":
            return {"name": "x" * 2000}
        return {"name": getattr(user, "name", "guest")}


class Kept(Room):
    route = "kept/<slug:room>"
    keep = Keep(days=1)


class SignedIn(Room):
    route = "signed-in/<slug:room>"
    presence = Presence(anonymous=False)


class Crowd(Room):
    route = "crowd/<slug:room>"
    presence = Presence(list_limit=2)

    def presence_meta(self, user: Any) -> None:  # type: ignore[override]
        return None


class Quiet(Topic):
    route = "quiet/<slug:room>"

    async def may_join(self, user: Any) -> bool:
        return True


@pytest.fixture
def _topics() -> Any:
    with registry.override([Room, Kept, SignedIn, Crowd, Quiet]):
        yield


async def two_in(room: Topic, live: AsyncLive) -> tuple[AsyncLiveClient, AsyncLiveClient]:
    """Users 1 and 2 have joined."""
    clients = await live.connect(user(1)), await live.connect(user(2))
    for client in clients:
        await client.join(room)
    return clients


# ── the class ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [-1, True, "10", 1.5])
def test_an_invalid_limit_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match=r"list_limit=.*expected how many members to list at most"):
        Presence(list_limit=limit)


def test_presence_is_a_value_and_not_the_class() -> None:
    with pytest.raises(TypeError, match=r"write presence = Presence\(\)"):
        type("Wrong", (Topic,), {"route": "wrong", "presence": Presence})


def test_metadata_without_presence_is_a_mistake() -> None:
    with pytest.raises(TypeError, match=r"Wrong.presence_meta: no client would receive it"):
        type("Wrong", (Topic,), {"route": "wrong", "presence_meta": lambda self, user: {}})


def test_metadata_with_other_parameters_are_a_mistake() -> None:
    attributes = {"route": "wrong", "presence": Presence(), "presence_meta": lambda self: {}}
    with pytest.raises(TypeError, match=r"write def presence_meta\(self, user\)"):
        type("Wrong", (Topic,), attributes)


# ── who is here ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("_topics")
@pytest.mark.parametrize("room", [Room(room="lobby"), Kept(room="lobby")])
async def test_members_see_each_other(room: Topic) -> None:
    async with AsyncLive(log=MemoryLog()) as live:
        ada, grace = await two_in(room, live)
        found = await ada.expect_members(room, grace, user(1))
        await grace.expect_members(room, "1", "2")
        assert [(member.id, member.meta) for member in found] == [
            ("1", {"name": "user 1"}),
            ("2", {"name": "user 2"}),
        ]
        assert abs((datetime.now(UTC) - found[0].since).total_seconds()) < 60
        await grace.leave(room)
        await ada.expect_members(room, ada)
        await ada.drop()
        assert await room.amembers() == []


@pytest.mark.usefixtures("_topics")
async def test_the_server_knows_the_members_at_once() -> None:
    room = Room(room="lobby")
    async with AsyncLive(log=MemoryLog()) as live:
        ada = await live.connect(user(1))
        await ada.join(room)
        [member] = await room.amembers()
        assert isinstance(member, Member)
        assert (member.id, member.meta, await room.amember_count()) == ("1", {"name": "user 1"}, 1)
        assert await Room(room="other").amembers() == []


@pytest.mark.usefixtures("_topics")
def test_def_code_asks_as_well() -> None:
    room = Room(room="lobby")
    with Live(log=MemoryLog()) as live:
        ada = live.connect(user(1))
        ada.join(room)
        ada.expect_members(room, ada)
        assert (
            [member.id for member in room.members()] == [member.id for member in ada.members(room)] == ["1"]
        )
        assert room.member_count() == ada.member_count(room) == 1


@pytest.mark.usefixtures("_topics")
async def test_anonymous_clients_are_members_under_names_that_tell_nothing() -> None:
    room = Room(room="lobby")
    async with AsyncLive(log=MemoryLog()) as live:
        one, two = await live.connect(), await live.connect()
        await one.join(room)
        await two.join(room)
        found = await one.expect_members(room, one, two)
        assert len(found) == 2
        for member in found:
            assert member.id.startswith("~")
            assert one.id not in member.id
            assert two.id not in member.id
        await two.drop()
        await one.expect_members(room, one)
        before = found[1].id
        await two.resume()
        assert {member.id for member in await one.expect_members(room, one, two)} >= {before}


@pytest.mark.usefixtures("_topics")
async def test_anonymous_clients_can_be_left_out_and_see_the_others() -> None:
    room = SignedIn(room="lobby")
    async with AsyncLive(log=MemoryLog()) as live:
        guest, ada = await live.connect(), await live.connect(user(1))
        await guest.join(room)
        await ada.join(room)
        await guest.expect_members(room, ada)


@pytest.mark.usefixtures("_topics")
async def test_a_crowd_is_counted() -> None:
    room = Crowd(room="lobby")
    async with AsyncLive(log=MemoryLog()) as live:
        crowd = [await live.connect(user(number)) for number in range(4)]
        for client in crowd:
            await client.join(room)
        assert await room.amember_count() == 4
        assert len(await room.amembers()) == 4
        await crowd[0].expect_nothing()
        assert (crowd[0].members(room), crowd[0].member_count(room)) == ([], 4)
        for client in crowd[2:]:
            await client.drop()
        assert [member.meta for member in await crowd[0].expect_members(room, *crowd[:2])] == [None, None]


@pytest.mark.usefixtures("_topics")
async def test_a_failed_expectation_lists_the_members() -> None:
    room = Room(room="lobby")
    async with AsyncLive(log=MemoryLog()) as live:
        ada = await live.connect(user(1))
        await ada.join(room)
        await ada.expect_members(room, ada)
        with pytest.raises(
            AssertionError, match=r"expected 1, 2 in rooms/lobby within .* but the members are 1"
        ):
            await ada.expect_members(room, ada, user(2), within=0.01)


@pytest.mark.usefixtures("_topics")
async def test_metadata_that_are_too_large_are_the_authors_error(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncLive(log=MemoryLog()) as live:
        ada = await live.connect(user(1))
        with caplog.at_level(logging.ERROR), pytest.raises(JoinError) as caught:
            await ada.join(Room(room="large"))
        assert caught.value.code == "internal"
        assert "presence_meta returned 2011 bytes of JSON" in caplog.text


@pytest.mark.usefixtures("_topics")
async def test_a_topic_without_presence_does_not_know() -> None:
    with pytest.raises(TypeError, match=r"Quiet.amembers: .* write presence = Presence\(\)"):
        await Quiet(room="lobby").amembers()
    with pytest.raises(TypeError, match=r"Quiet.member_count"):
        Quiet(room="lobby").member_count()


@pytest.mark.usefixtures("_topics")
async def test_asking_on_an_event_loop_names_the_way_out() -> None:
    with pytest.raises(SynchronousOnlyOperation, match=r"await amembers\(\)"):
        Room(room="lobby").members()


@pytest.mark.usefixtures("_topics")
async def test_a_client_that_reads_again_receives_what_it_missed() -> None:
    room = Room(room="lobby")
    async with AsyncLive(log=MemoryLog()) as live:
        ada, slow = await two_in(room, live)
        await slow.expect_members(room, ada, slow)
        await slow.stall()
        others = [AsyncLiveClient(user(number), live=live) for number in range(3, 8)]
        for other in others:
            await other.open()
            await other.join(room)
            await ada.expect_members(room, ada, slow, *others[: others.index(other) + 1])
        await slow.read()
        await slow.expect_members(room, ada, slow, *others)


@pytest.mark.usefixtures("_topics")
async def test_an_evicted_user_is_no_longer_a_member() -> None:
    room = Kept(room="lobby")
    async with AsyncLive(log=MemoryLog()) as live:
        ada, grace = await two_in(room, live)
        await ada.expect_members(room, ada, grace)
        await room.aevict(user(2))
        await grace.expect_left(room)
        await ada.expect_members(room, ada)
        assert [member.id for member in await room.amembers()] == ["1"]
