"""Presence of several servers, as clients see it."""

import asyncio
from collections.abc import Sequence

import pytest

from holdfast.presence.base import PresenceUnavailable
from holdfast.protocol.frames import JoinedPayload
from holdfast.roster.local import NOTIFY_SECONDS
from holdfast.streams.prepared import Burst
from tests.support.clock import in_jumping_time
from tests.support.hubs import TOPIC, draft
from tests.support.presence import LEASE, Coast, Harbour, Watcher


async def soon() -> None:
    """Wait long enough to write, to send, and to notify."""
    await asyncio.sleep(0.1)


async def two_servers() -> tuple[Coast, Harbour, Harbour]:
    coast = Coast()
    return coast, await coast.server(), await coast.server()


async def watched() -> tuple[Coast, Harbour, Harbour, Watcher]:
    """Two servers, and a member on the second one that sees changes from the first."""
    coast, here, there = await two_servers()
    watcher = await there.join("watcher")
    await soon()
    return coast, here, there, watcher


class Faithful(Watcher):
    """Keeps every state of the list that it got."""

    def __init__(self, member: str | None = None) -> None:
        super().__init__(member)
        self.seen: list[set[str]] = []

    def announce(self, payload: JoinedPayload) -> bool:
        going_on = super().announce(payload)
        if self.sees is not None:
            self.seen.append(self.sees)
        return going_on

    def write(self, burst: Burst) -> None:
        super().write(burst)
        self.seen.append(self.sees or set())


def lost(topic: str, message: bytes) -> list[bytes]:
    return []


@in_jumping_time
async def test_a_client_that_joins_gets_the_members_and_then_the_changes() -> None:
    server = await Coast().server()
    ada = await server.join("ada")
    await soon()
    grace = await server.join("grace")
    assert grace.joined is not None
    assert grace.sees == {"ada", "grace"}
    await soon()
    assert ada.sees == grace.sees == {"ada", "grace"}
    server.leave(grace)
    await soon()
    assert ada.sees == {"ada"}
    assert ada.told[-1] == {"left": ["grace"]}


@in_jumping_time
async def test_members_are_seen_from_other_servers() -> None:
    _, here, there = await two_servers()
    ada, grace = await here.join("ada"), await there.join("grace")
    await soon()
    assert ada.sees == grace.sees == {"ada", "grace"}
    there.leave(grace)
    await soon()
    assert ada.sees == {"ada"}
    assert here.presence.reads == 1


@in_jumping_time
async def test_several_tabs_are_one_member() -> None:
    _, here, there = await two_servers()
    watcher = await here.join(None)
    tabs = [await here.join("ada"), await here.join("ada"), await there.join("ada")]
    await soon()
    assert [message.get("joined", [{}])[0].get("id") for message in watcher.told] == ["ada"]
    here.leave(tabs[0])
    there.leave(tabs[2])
    await soon()
    assert watcher.sees == {"ada"}
    here.leave(tabs[1])
    await soon()
    assert watcher.told[1:] == [{"left": ["ada"]}]


@in_jumping_time
async def test_a_client_that_only_watches_is_no_member() -> None:
    server = await Coast().server()
    watcher = await server.join(None)
    ada = await server.join("ada")
    await soon()
    assert watcher.sees == ada.sees == {"ada"}


@in_jumping_time
async def test_a_page_that_is_reloaded_writes_nothing() -> None:
    coast = Coast()
    server = await coast.server()
    watcher, ada = await server.join(None), await server.join("ada")
    await soon()
    coast.place.commands.clear()
    server.leave(ada)
    await server.join("ada")
    await soon()
    assert "change" not in coast.place.commands
    assert watcher.sees == {"ada"}
    assert len(watcher.told) == 1


@in_jumping_time
async def test_a_thousand_members_that_join_at_once_are_written_and_sent_together() -> None:
    coast, here, there = await two_servers()
    watchers = [await here.join(None, limit=2000), await there.join(None, limit=2000)]
    await soon()
    coast.place.commands.clear()
    for number in range(1000):
        await here.join(str(number), limit=2000)
    await soon()
    assert coast.place.commands.count("change") == 1
    assert all(len(watcher.sees or ()) == 1000 for watcher in watchers)
    assert max(len(watcher.told) for watcher in watchers) <= 2


@in_jumping_time
async def test_lists_of_many_topics_are_read_together() -> None:
    coast = Coast()
    server = await coast.server()
    await asyncio.gather(*[server.join("ada", topic=f"rooms/{number}") for number in range(100)])
    assert server.presence.reads == 100
    assert coast.place.commands.count("read") <= 2


@in_jumping_time
async def test_very_many_clients_are_notified_less_often() -> None:
    _, here, there = await two_servers()
    crowd = [await here.join(None) for _ in range(5000)]
    await asyncio.sleep(1)
    for number in range(20):
        await there.join(str(number))
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)
    assert all(len(watcher.sees or ()) == 20 for watcher in crowd)
    assert len(crowd[0].told) <= 4, "5,000 clients are notified at most five times a second"


@in_jumping_time
async def test_many_topics_are_notified_less_often_too() -> None:
    _, here, there = await two_servers()
    crowd = [await here.join(None, topic=f"rooms/{number % 50}") for number in range(5000)]
    await asyncio.sleep(1)
    for number in range(20):
        for room in range(50):
            await there.join(str(number), topic=f"rooms/{room}")
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)
    assert all(len(watcher.sees or ()) == 20 for watcher in crowd)
    assert sum(len(watcher.told) for watcher in crowd) <= 4 * len(crowd)


@in_jumping_time
async def test_one_change_is_sent_within_milliseconds() -> None:
    server = await Coast().server()
    watcher = await server.join(None)
    await soon()
    await server.join("ada")
    await asyncio.sleep(3 * NOTIFY_SECONDS)
    assert watcher.sees == {"ada"}


@in_jumping_time
async def test_a_list_beyond_the_limit_is_counted_and_sent_again_when_it_fits() -> None:
    _, here, there = await two_servers()
    watcher = await there.join(None, limit=3)
    members = [await here.join(str(number), limit=3) for number in range(3)]
    await soon()
    assert watcher.sees == {"0", "1", "2"}
    members.append(await here.join("3", limit=3))
    await soon()
    assert (watcher.sees, watcher.count) == (None, 4)
    late = await there.join("4", limit=3)
    assert (late.sees, late.count) == (None, 4)
    await soon()
    assert watcher.told[-1] == {"count": 5}
    for member in members[:2]:
        here.leave(member)
    await soon()
    assert watcher.sees == late.sees == {"2", "3", "4"}
    here.leave(members[2])
    await soon()
    assert watcher.told[-1] == {"left": ["2"]}


@in_jumping_time
async def test_a_topic_with_a_limit_of_zero_sends_the_count() -> None:
    server = await Coast().server()
    ada = await server.join("ada", limit=0)
    await soon()
    grace = await server.join("grace", limit=0)
    await soon()
    assert (ada.sees, ada.count, grace.count) == (None, 2, 2)


# ── clients that do not read ─────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_client_that_did_not_read_gets_the_diff_when_it_reads_again() -> None:
    server = await Coast().server()
    slow, ada = await server.join("slow"), await server.join("ada")
    await soon()
    told = len(slow.told)
    slow.ready = False
    for number in range(20):
        guest = await server.join(f"guest {number}")
        await soon()
        if number % 2:
            server.leave(guest)
    server.leave(ada)
    await soon()
    assert len(slow.told) == told
    server.resume(slow)
    assert len(slow.told) == told + 1
    assert sorted(slow.told[-1]) == ["joined", "left"]
    assert slow.sees == {"slow", *(f"guest {number}" for number in range(0, 20, 2))}


@in_jumping_time
async def test_a_client_that_missed_nothing_gets_nothing() -> None:
    server = await Coast().server()
    slow = await server.join("slow")
    await soon()
    told = list(slow.told)
    slow.ready = False
    guest = await server.join("guest")
    await soon()
    server.leave(guest)
    await soon()
    server.resume(slow)
    await soon()
    assert slow.told == told


@in_jumping_time
async def test_a_client_that_missed_very_much_gets_the_list() -> None:
    server = await Coast().server()
    slow = await server.join("slow")
    await soon()
    slow.ready = False
    for number in range(300):
        guest = await server.join(f"guest {number}")
        await asyncio.sleep(0.02)
        if number > 2:
            server.leave(guest)
    await soon()
    server.resume(slow)
    assert list(slow.told[-1]) == ["members"]
    assert slow.sees == {"slow", "guest 0", "guest 1", "guest 2"}


@in_jumping_time
async def test_a_subscriber_that_fails_does_not_cost_others_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Watcher):
        def write(self, burst: object) -> None:
            raise ValueError("broken")

    server = await Coast().server()
    broken = await server.join(None, watcher=Broken())
    watcher = await server.join(None)
    await server.join("ada")
    await soon()
    assert broken.failed
    assert watcher.sees == {"ada"}


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_one_other_server_removes_the_members_of_a_killed_one_within_one_and_a_half_leases() -> None:
    coast = Coast()
    dying, *others = [await coast.server() for _ in range(4)]
    for number in range(10):
        await dying.join(f"lost {number}")
    watchers = [await other.join(f"kept {number}") for number, other in enumerate(others)]
    await asyncio.sleep(LEASE)
    await dying.kill()
    await asyncio.sleep(LEASE * 0.6)
    assert all(len(watcher.sees or ()) == 13 for watcher in watchers)
    await asyncio.sleep(LEASE * 0.9)
    kept = {"kept 0", "kept 1", "kept 2"}
    assert all(watcher.sees == kept for watcher in watchers)
    assert [sum("left" in told for told in watcher.told) for watcher in watchers] == [1, 1, 1]


@in_jumping_time
async def test_a_server_that_slept_too_long_enters_its_own_members_again_and_no_others() -> None:
    coast = Coast()
    sleeper, other = await coast.server(), await coast.server()
    stayed, watcher = await sleeper.join("stayed"), await other.join("other")
    twice = await sleeper.join("on both")
    await other.join("on both")
    await soon()
    sleeper.reach.sleep()
    left = await sleeper.join("left while asleep")
    await asyncio.sleep(2 * LEASE)
    assert watcher.sees == {"other", "on both"}
    sleeper.leave(left)
    sleeper.leave(twice)
    sleeper.reach.wake()
    await asyncio.sleep(LEASE / 3 + 1)
    assert watcher.sees == stayed.sees == {"stayed", "other", "on both"} == coast.place.here()
    sleeper.leave(stayed)
    await soon()
    assert watcher.sees == {"other", "on both"}


@in_jumping_time
async def test_a_store_that_lost_its_memory_is_filled_again() -> None:
    coast, here, there = await two_servers()
    ada, grace = await here.join("ada"), await there.join("grace")
    await soon()
    coast.place.lose_memory()
    await asyncio.sleep(LEASE / 3 + 2.5)
    assert ada.sees == grace.sees == {"ada", "grace"} == coast.place.here()


@in_jumping_time
async def test_members_that_the_store_lost_are_written_again() -> None:
    """As when a Redis replica takes over that has not received the last writes."""
    coast, here, there = await two_servers()
    ada, grace = await here.join("ada"), await there.join("grace")
    await soon()
    topic = coast.place._topics[TOPIC]
    topic.number, topic.mark = topic.number - 1, "1-before"
    del topic.members["ada"]
    for members in topic.held.values():
        members.discard("ada")
    await asyncio.sleep(3)
    assert ada.sees == grace.sees == {"ada", "grace"} == coast.place.here()


@in_jumping_time
async def test_clients_get_no_list_that_lacks_members_of_their_own_server_when_the_store_comes_back() -> None:
    """As when the server was started before its Redis."""
    server = await Coast().server()
    server.reach.away = "before"
    clients = [Faithful(name) for name in ("ada", "grace")]
    for client in clients:
        await server.join(client.member, watcher=client)
    await asyncio.sleep(5)
    server.reach.away = ""
    server.presence.interrupted()  # the backplane is back too, and the lists are read at once
    await asyncio.sleep(3)
    for client in clients:
        assert client.seen == [{"ada", "grace"}]


@in_jumping_time
async def test_a_client_that_joins_while_members_are_written_again_gets_no_list_without_them() -> None:
    coast = Coast()
    server = await coast.server()
    ada = await server.join("ada", watcher=Faithful("ada"))
    await soon()
    coast.place.lose_memory()
    late = await _joined_before_they_are_written_again(server)
    await asyncio.sleep(LEASE)
    assert ada.sees == late.sees == {"ada", "late"} == coast.place.here()
    assert isinstance(late, Faithful)
    assert all("ada" in view for view in late.seen)


async def _joined_before_they_are_written_again(server: Harbour) -> Watcher:
    room = server.presence._topics[TOPIC]
    while room.complete:
        await asyncio.sleep(0)
        await asyncio.sleep(0.0005)
    return await server.join("late", watcher=Faithful("late"))


@in_jumping_time
async def test_members_who_stay_are_not_reported_as_left_when_the_store_has_lost_its_memory() -> None:
    """As when Redis is started again, empty."""
    coast, here, there = await two_servers()
    ada, grace = Faithful("ada"), Faithful("grace")
    linus = Faithful("linus")
    for client in (ada, grace):
        await here.join(client.member, watcher=client)
    await there.join("linus", watcher=linus)
    await soon()
    for client in (ada, grace, linus):
        client.seen.clear()
    coast.place.lose_memory()
    await asyncio.sleep(LEASE)
    assert ada.sees == grace.sees == linus.sees == {"ada", "grace", "linus"} == coast.place.here()
    assert all({"ada", "grace"} <= view for client in (ada, grace) for view in client.seen)
    assert all("linus" in view for view in linus.seen)


@pytest.mark.parametrize("away", ["before", "after"])
@in_jumping_time
async def test_presence_stands_still_while_the_store_is_away(
    away: str, caplog: pytest.LogCaptureFixture
) -> None:
    coast, here, there = await two_servers()
    ada, watcher = await here.join("ada"), await there.join("watcher")
    await soon()
    here.reach.away = away
    grace = await here.join("grace")
    assert grace.sees == {"ada", "watcher", "grace"}
    here.leave(ada)
    await asyncio.sleep(5)
    assert sum("rosters stand still" in record.message for record in caplog.records) == 1
    here.reach.away = ""
    await asyncio.sleep(3)
    assert grace.sees == watcher.sees == {"grace", "watcher"} == coast.place.here()


@in_jumping_time
async def test_a_member_that_came_and_went_while_the_store_did_not_answer_is_gone() -> None:
    coast, here, _, watcher = await watched()
    await here.join("ada")
    await soon()
    here.reach.away = "after"
    grace = await here.join("grace")
    await soon()
    here.leave(grace)
    here.reach.away = ""
    await asyncio.sleep(3)
    assert watcher.sees == {"watcher", "ada"} == coast.place.here()


@in_jumping_time
async def test_members_written_under_a_lease_that_was_lost_during_the_write_are_written_again() -> None:
    coast, here, _, watcher = await watched()
    await here.join("ada")
    await soon()
    lease = here.presence._lease
    change = here.reach.change

    async def slow(lease: str, writes: object) -> object:
        found = await change(lease, writes)  # type: ignore[arg-type]
        here.presence._lose_lease()  # a refresh has found out, while the answer was on its way
        here.reach.change = change  # type: ignore[method-assign]
        return found

    here.reach.change = slow  # type: ignore[method-assign,assignment]
    await here.join("grace")
    await soon()
    assert here.presence._lease not in ("", lease)
    assert watcher.sees == {"watcher", "ada", "grace"} == coast.place.here()


@in_jumping_time
async def test_a_topic_that_is_opened_again_does_not_show_its_old_list() -> None:
    _, here, there = await two_servers()
    ada = await here.join("ada")
    await soon()
    here.reach.away = "before"
    here.leave(ada)
    await asyncio.sleep(10)
    assert here.presence._topics[TOPIC].open is False
    await there.join("grace")
    await soon()
    here.reach.away = ""
    late = await here.join("late")
    assert late.sees is not None
    assert "grace" in late.sees


@in_jumping_time
async def test_a_join_does_not_wait_for_a_store_that_does_not_answer() -> None:
    coast = Coast()
    server = await coast.server()
    server.reach.sleep()
    ada = await server.join("ada")
    assert asyncio.get_running_loop().time() < 2
    assert (ada.sees, ada.count) == (None, None)
    server.reach.wake()
    await soon()
    assert ada.sees == {"ada"}
    assert list(ada.told[0]) == ["members"]


@in_jumping_time
async def test_joins_do_not_wait_again_and_again_for_a_store_that_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await Coast().server()
    server.reach.away = "before"
    clients = [await server.join(str(number)) for number in range(20)]
    assert asyncio.get_running_loop().time() < 1
    server.reach.away = ""
    await asyncio.sleep(4)
    assert all(len(client.sees or ()) == 20 for client in clients)


@in_jumping_time
async def test_a_lost_message_is_repaired_by_the_comparison() -> None:
    coast, here, _, watcher = await watched()
    coast.exchange.fault = lost
    await here.join("ada")
    await soon()
    assert watcher.sees == {"watcher"}
    await asyncio.sleep(2.1)
    assert watcher.sees == {"watcher", "ada"}


@in_jumping_time
async def test_a_store_that_does_not_answer_does_not_delay_comparisons_with_the_log() -> None:
    """An eviction that the backplane lost is found in the log within the comparison period."""
    _, _, there, _ = await watched()
    listener = await there.server.join(topic="rooms/durable")
    there.reach.sleep()
    await asyncio.sleep(3)
    there.server.log.append([draft(1, "rooms/durable")])
    await asyncio.sleep(2.1)
    assert listener.offsets == [1]


@in_jumping_time
async def test_an_interruption_of_the_backplane_is_repaired_at_once() -> None:
    coast, here, _, watcher = await watched()
    coast.exchange.fault = lost
    await here.join("ada")
    await soon()
    coast.exchange.interrupt()
    await soon()
    assert watcher.sees == {"watcher", "ada"}


@in_jumping_time
async def test_a_gap_is_closed_by_one_read() -> None:
    coast, here, there, watcher = await watched()
    coast.exchange.fault = lost
    await here.join("ada")
    await soon()
    coast.exchange.fault = lambda topic, message: [message, message]
    reads = there.presence.reads
    await here.join("grace")
    await soon()
    assert watcher.sees == {"watcher", "ada", "grace"}
    assert there.presence.reads == reads + 1


# ── coming to an end ─────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_server_that_stops_removes_its_members_at_once() -> None:
    coast = Coast()
    stopping, other = await coast.server(), await coast.server()
    for number in range(20):
        await stopping.join(str(number))
    watcher = await other.join("watcher")
    await soon()
    await stopping.stop()
    await soon()
    assert watcher.sees == {"watcher"}
    assert [told for told in watcher.told if "left" in told] == [watcher.told[-1]]


@in_jumping_time
async def test_stopping_does_not_wait_for_a_store_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    server = await Coast().server()
    await server.join("ada")
    await soon()
    server.reach.sleep()
    begin = asyncio.get_running_loop().time()
    await server.stop()
    assert asyncio.get_running_loop().time() - begin <= 2
    assert "stay listed until its lease ends" in caplog.text


@in_jumping_time
async def test_a_topic_that_all_members_left_is_forgotten_and_begins_again() -> None:
    _, here, there = await two_servers()
    ada = await here.join("ada")
    await soon()
    here.leave(ada)
    await asyncio.sleep(10)
    assert here.presence._topics == {}
    await there.join("grace")
    await soon()
    ada = await here.join("ada")
    assert ada.sees == {"ada", "grace"}
    await soon()
    assert ada.sees == {"ada", "grace"}


@in_jumping_time
async def test_refreshing_is_one_command_however_many_members_there_are() -> None:
    coast = Coast()
    server = await coast.server()
    for number in range(1000):
        await server.join(str(number), topic=f"rooms/{number % 100}")
    await asyncio.sleep(1)
    coast.place.commands.clear()
    await asyncio.sleep(10 * LEASE / 3)
    assert coast.place.commands.count("refresh") == 10
    assert set(coast.place.commands) == {"refresh", "marks"}


@in_jumping_time
async def test_a_member_that_joins_while_forgetting_its_empty_topic_fails_is_written() -> None:
    coast, here, there = await two_servers()
    watcher, ada = await there.join("watcher"), await here.join("ada")
    await soon()
    forget = here.reach.forget

    async def break_off(lease: str, topics: Sequence[str]) -> None:
        here.reach.forget = forget  # type: ignore[method-assign]
        await here.join("grace")
        raise PresenceUnavailable("away")

    here.reach.forget = break_off  # type: ignore[method-assign]
    here.leave(ada)
    await asyncio.sleep(20)
    assert watcher.sees == {"watcher", "grace"} == coast.place.here()


@in_jumping_time
async def test_a_topic_that_becomes_unknown_just_before_its_write_is_looked_up_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    coast, here, there = await two_servers()
    await here.join("ada", limit=0)
    await here.join("ada", topic="rooms/other")
    await soon()
    held = here.reach.held

    async def in_between(lease: str, topics: Sequence[str]) -> Sequence[frozenset[str]]:
        here.reach.held = held  # type: ignore[method-assign]
        coast.exchange.fault = lambda topic, message: []  # the comparison finds lost changes
        await there.join("grace", limit=0)
        await soon()
        await here.presence.compare()
        return await held(lease, topics)

    here.reach.held = in_between  # type: ignore[method-assign]
    here.presence._look_up([here.presence._topics["rooms/other"]])
    linus = await here.join("linus", limit=0)
    await asyncio.sleep(3)
    assert coast.place.here() == {"ada", "grace", "linus"}
    assert linus.count == 3
    assert "could not be written" not in caplog.text


@in_jumping_time
async def test_a_lost_member_that_another_server_also_held_is_written_again_when_that_hold_ends() -> None:
    """A Redis replica that takes over has lost this server's hold on a member, but not the other server's."""
    coast, here, there = await two_servers()
    watcher, ada, other = await there.join("watcher"), await here.join("ada"), await there.join("ada")
    await soon()
    topic = coast.place._topics[TOPIC]
    topic.number, topic.mark = topic.number - 1, "1-before"
    topic.held[here.presence._lease].discard("ada")
    await asyncio.sleep(3)
    there.leave(other)
    await soon()
    assert watcher.sees == ada.sees == {"watcher", "ada"} == coast.place.here()


@in_jumping_time
async def test_a_client_that_makes_the_list_too_long_gets_no_list() -> None:
    server = await Coast().server()
    hidden = await server.join("ada", topic="rooms/hidden", limit=0)
    assert (hidden.sees, hidden.count) == (None, 1)
    ada = await server.join("ada", limit=1)
    await soon()
    grace = await server.join("grace", limit=1)
    assert (grace.sees, grace.count) == (None, 2)
    server.leave(ada)
    await soon()
    assert grace.sees == {"grace"}
