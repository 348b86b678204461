"""The promises of every presence store (``presence/base.py``)."""

import asyncio

from holdfast.presence.base import Change, PresenceStore, Write, number

from .conftest import Stores

TOPIC = "rooms/lobby"
SECONDS = 30.0


def info(member: str) -> bytes:
    return b'{"id":"%s"}' % member.encode()


async def lease(store: PresenceStore, name: str) -> str:
    await store.open(name, SECONDS)
    return name


async def enter(store: PresenceStore, lease: str, *members: str, topic: str = TOPIC) -> Change:
    [change] = await store.change(lease, [Write(topic=topic, entering={m: info(m) for m in members})])
    assert change is not None
    return change


async def leave(store: PresenceStore, lease: str, *members: str, topic: str = TOPIC) -> Change:
    [change] = await store.change(lease, [Write(topic=topic, leaving=members)])
    assert change is not None
    return change


async def here(store: PresenceStore, topic: str = TOPIC) -> set[str]:
    [roster] = await store.read([(topic, 1000)])
    assert roster.members is not None
    assert roster.count == len(roster.members)
    assert all(found == info(member) for member, found in roster.members.items())
    return set(roster.members)


class Heard:
    """Notes the changes that it is called with."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, Change]] = []

    def __call__(self, topic: str, change: Change) -> None:
        self.changes.append((topic, change))

    @property
    def left(self) -> list[str]:
        return sorted(member for _, change in self.changes for member in change.left)


async def test_members_that_enter_are_listed_and_members_that_leave_are_not(stores: Stores) -> None:
    store = await stores.new()
    one = await lease(store, "one")
    change = await enter(store, one, "ada", "grace")
    assert (dict(change.joined or {}), change.left, change.count) == (
        {"ada": info("ada"), "grace": info("grace")},
        (),
        2,
    )
    assert await here(store) == {"ada", "grace"}
    change = await leave(store, one, "ada")
    assert (dict(change.joined or {}), change.left, change.count) == ({}, ("ada",), 1)
    assert await here(store) == {"grace"}


async def test_of_a_member_on_two_servers_only_the_first_entry_and_the_last_exit_are_changes(
    stores: Stores,
) -> None:
    store = await stores.new()
    one, two = await lease(store, "one"), await lease(store, "two")
    first = await enter(store, one, "ada")
    second = await enter(store, two, "ada")
    assert second.before == second.mark == first.mark
    assert not second.joined
    assert not (await leave(store, one, "ada")).left
    assert await here(store) == {"ada"}
    assert (await leave(store, two, "ada")).left == ("ada",)
    assert await here(store) == set()


async def test_a_repeated_write_changes_nothing(stores: Stores) -> None:
    store = await stores.new()
    one, two = await lease(store, "one"), await lease(store, "two")
    await enter(store, one, "ada")
    again = await enter(store, one, "ada")
    assert again.before == again.mark
    await enter(store, two, "ada")
    await leave(store, one, "ada")
    await leave(store, one, "ada")
    assert await here(store) == {"ada"}


async def test_each_change_names_the_one_before(stores: Stores) -> None:
    store = await stores.new()
    one = await lease(store, "one")
    changes = [
        await enter(store, one, "ada"),
        await leave(store, one, "ada"),
        await enter(store, one, "ada"),
        await enter(store, one, "grace"),
    ]
    assert [change.before for change in changes] == ["", *[change.mark for change in changes[:-1]]]
    assert [number(change.mark) for change in changes] == [1, 2, 3, 4]
    assert (await store.read([(TOPIC, 10)]))[0].mark == changes[-1].mark
    assert list(await store.marks(["rooms/other", TOPIC])) == ["", changes[-1].mark]


async def test_many_topics_are_written_in_one_call_each_by_itself(stores: Stores) -> None:
    store = await stores.new()
    one = await lease(store, "one")
    names = [f"rooms/{number}{{}}%" for number in range(50)]
    changes = await store.change(one, [Write(topic=name, entering={name: info("x")}) for name in names])
    assert [dict(change.joined or {}) for change in changes if change] == [
        {name: info("x")} for name in names
    ]
    assert [roster.members for roster in await store.read([(name, 1) for name in names])] == [
        {name: info("x")} for name in names
    ]
    assert list(await store.held(one, names)) == [{name} for name in names]


async def test_a_list_that_is_too_long_is_counted(stores: Stores) -> None:
    store = await stores.new()
    one = await lease(store, "one")
    await enter(store, one, *[f"member {number}" for number in range(5)])
    assert (await store.read([(TOPIC, 5)]))[0].members is not None
    [roster] = await store.read([(TOPIC, 4)])
    assert (roster.members, roster.count) == (None, 5)


async def test_a_refreshed_lease_lives_on(stores: Stores) -> None:
    store = await stores.new()
    one = await lease(store, "one")
    await enter(store, one, "ada")
    found = await store.refresh(one, SECONDS)
    assert (found.alive, found.ended) == (True, ())
    assert await here(store) == {"ada"}


async def test_members_of_a_dead_server_are_removed_and_reported_once(stores: Stores) -> None:
    dead, other, third = await stores.new(), await stores.new(), await stores.new()
    one = await lease(dead, "one")
    await enter(dead, one, "ada", "grace")
    await enter(dead, one, "ada", topic="rooms/other")
    stores.expire()
    two, three = await lease(other, "two"), await lease(third, "three")
    await enter(other, two, "grace")
    found = [await other.refresh(two, SECONDS), await third.refresh(three, SECONDS)]
    assert [result.ended for result in found] == [("one",), ()]
    heard = Heard()
    await asyncio.gather(other.clear(one, heard), third.clear(one, heard))
    assert heard.left == ["ada", "ada"]
    assert (await here(other), await here(other, "rooms/other")) == ({"grace"}, set())


async def test_another_server_clears_a_lease_if_the_first_one_dies_while_clearing(stores: Stores) -> None:
    dead, other = await stores.new(), await stores.new()
    one = await lease(dead, "one")
    await enter(dead, one, "ada")
    stores.expire()
    two = await lease(other, "two")
    assert (await other.refresh(two, SECONDS)).ended == ("one",)
    assert (await other.refresh(two, SECONDS)).ended == ()
    stores.expire()
    three = await lease(other, "three")
    assert "one" in (await other.refresh(three, SECONDS)).ended
    await other.clear(one, Heard())
    stores.expire()
    assert "one" not in (await other.refresh(await lease(other, "four"), SECONDS)).ended


async def test_writes_under_an_ended_lease_are_refused_everywhere(stores: Stores) -> None:
    sleeper, other = await stores.new(), await stores.new()
    one = await lease(sleeper, "one")
    await enter(sleeper, one, "ada")
    stores.expire()
    await other.refresh(await lease(other, "two"), SECONDS)
    await other.clear(one, Heard())
    assert not (await sleeper.refresh(one, SECONDS)).alive
    write = {"entering": {"ada": info("ada")}}
    results = await sleeper.change(one, [Write(topic=TOPIC, **write), Write(topic="rooms/new", **write)])  # type: ignore[arg-type]
    assert list(results) == [None, None]
    results = await sleeper.change(one, [Write(topic=TOPIC, **write)])  # type: ignore[arg-type]
    assert list(results) == [None]
    assert (await here(other), await here(other, "rooms/new")) == (set(), set())


async def test_members_of_a_lease_that_is_given_back_are_removed_at_once(stores: Stores) -> None:
    store = await stores.new()
    one = await lease(store, "one")
    await enter(store, one, "ada")
    heard = Heard()
    await store.clear(one, heard)
    assert heard.left == ["ada"]
    assert not (await store.refresh(one, SECONDS)).alive


async def test_a_forgotten_topic_can_be_entered_again(stores: Stores) -> None:
    store, other = await stores.new(), await stores.new()
    one = await lease(store, "one")
    await enter(store, one, "ada")
    await leave(store, one, "ada")
    await store.forget(one, [TOPIC])
    await enter(store, one, "ada")
    stores.expire()
    await other.refresh(await lease(other, "two"), SECONDS)
    await other.clear(one, Heard())
    assert await here(other) == set()


async def test_the_list_is_read_from_any_thread_without_members_of_ended_leases(stores: Stores) -> None:
    dead, other = await stores.new(), await stores.new()
    await enter(dead, await lease(dead, "one"), "ada")
    stores.expire()
    await enter(other, await lease(other, "two"), "grace")
    heard = Heard()
    roster = await asyncio.to_thread(other.members, TOPIC, 10, heard)
    assert (roster.members, roster.count, heard.left) == ({"grace": info("grace")}, 1, ["ada"])


async def test_concurrent_writers_agree_on_one_history(stores: Stores) -> None:
    servers = [await stores.new() for _ in range(4)]
    leases = [await lease(store, f"lease-{place}") for place, store in enumerate(servers)]

    async def bustle(store: PresenceStore, lease: str) -> list[Change]:
        changes = []
        for turn in range(25):
            changes.append(await enter(store, lease, "ada", f"{lease}-{turn}"))
            changes.append(await leave(store, lease, "ada"))
        return changes

    found = await asyncio.gather(*[bustle(*pair) for pair in zip(servers, leases, strict=True)])
    changes = sorted(
        (change for one in found for change in one if change.mark != change.before),
        key=lambda change: number(change.mark),
    )
    assert [number(change.mark) for change in changes] == list(range(1, len(changes) + 1))
    assert [change.before for change in changes[1:]] == [change.mark for change in changes[:-1]]
    view: set[str] = set()
    for change in changes:
        assert not view & set(change.joined or {}), "joined although here"
        assert view >= set(change.left), "left although not here"
        view = view - set(change.left) | set(change.joined or {})
    assert view == await here(servers[0])


async def test_two_servers_can_clear_the_same_lease(stores: Stores) -> None:
    dead, other = await stores.new(), await stores.new()
    one = await lease(dead, "one")
    await enter(dead, one, "ada", "grace")
    heard = Heard()
    await asyncio.gather(*[store.clear(one, heard) for store in (dead, dead, other, other)])
    assert (heard.left, await here(other)) == (["ada", "grace"], set())


async def test_members_of_ended_leases_are_not_listed_while_another_server_is_about_to_clear_them(
    stores: Stores,
) -> None:
    dead, other = await stores.new(), await stores.new()
    await enter(dead, await lease(dead, "one"), "ada")
    stores.expire()
    assert (await other.refresh("", SECONDS)).ended == ("one",)  # and then it hangs
    heard = Heard()
    roster = await asyncio.to_thread(other.members, TOPIC, 10, heard)
    assert (roster.count, heard.left) == (0, ["ada"])
    await enter(dead, await lease(dead, "two"), "ada")
    assert (await asyncio.to_thread(other.members, TOPIC, 10, heard)).count == 1
