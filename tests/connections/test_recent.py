"""Recent revocations are kept for long enough, and not for ever."""

import pytest

from holdfast.connections.recent import RecentCommands
from holdfast.control.commands import ControlCommand, Disconnect, EndSession, Evict, Recheck

ROOM, ROUTE = "rooms/lobby", "rooms/<slug:room>"


@pytest.mark.parametrize(
    ("order", "here", "elsewhere", "at_all"),
    [
        (Evict(topic=ROOM, owners=("user:1", "user:2")), True, False, False),
        (Evict(topic=ROOM), True, False, False),
        (Evict(topic="rooms/other", owners=("user:1",)), False, False, False),
        (Disconnect(owner="user:1"), True, True, True),
        (Disconnect(owner="user:2"), False, False, False),
        (EndSession(owner="user:1", session="s"), True, True, True),
        (EndSession(session="s"), False, False, False),
        (Recheck(owners=("user:1",)), True, True, True),
        (Recheck(topic=ROOM), True, False, False),
        (Recheck(route=ROUTE), True, False, False),
        (Recheck(route="rooms/lobby"), False, False, False),
        (Recheck(), True, True, True),
    ],
)
def test_a_revocation_concerns_its_owners_and_topics_only(
    order: ControlCommand, here: bool, elsewhere: bool, at_all: bool
) -> None:
    recent = RecentCommands(60)
    recent.add(order, 0.0)
    assert recent.concern("user:1", ROOM, ROUTE, 0) is here
    assert recent.concern("user:1", "files/1", "files/<int:file>", 0) is elsewhere
    assert recent.concern_owner("user:1", 0) is at_all
    assert recent.remember("user:1", 0.0) is at_all
    assert not recent.concern("user:1", ROOM, ROUTE, recent.newest)


def test_an_ended_session_is_known_with_or_without_its_user() -> None:
    recent = RecentCommands(60)
    recent.add(EndSession(session="s"), 0.0)
    recent.add(EndSession(owner="user:1", session="t"), 0.0)
    assert recent.ended("user:1", "s", 0.0)
    assert recent.ended("user:2", "s", 0.0)
    assert recent.ended("user:1", "t", 0.0)
    assert not recent.ended("user:2", "t", 0.0)


def test_a_revocation_is_kept_for_its_time_and_dropped_after_twice_that() -> None:
    for begun in range(0, 60, 7):
        recent = RecentCommands(60)
        recent.add(Recheck(topic="begins the clock"), 0.0)
        recent.add(Disconnect(owner="user:1"), begun)
        for second in range(begun, begun + 60):
            recent.add(Disconnect(owner="user:2"), second)
            assert recent.remember("user:1", second), (begun, second)
        assert not recent.remember("user:1", begun + 120)


def test_a_join_that_began_before_the_oldest_kept_revocation_is_checked_again() -> None:
    recent = RecentCommands(60)
    begun = recent.newest
    recent.add(Evict(topic=ROOM, owners=("user:1",)), 0.0)
    recent.add(Evict(topic=ROOM, owners=("user:2",)), 70.0)
    recent.add(Evict(topic=ROOM, owners=("user:2",)), 140.0)
    assert recent.concern("user:1", ROOM, ROUTE, begun)
    assert recent.concern_owner("user:1", begun)


def test_missed_revocations_concern_every_owner() -> None:
    recent = RecentCommands(60)
    recent.miss(0.0)
    assert recent.concern("client:x", ROOM, ROUTE, 0)
    assert recent.remember("user:1", 1.0)


def test_the_kept_revocations_do_not_grow_without_bound() -> None:
    recent = RecentCommands(60)
    for second in range(10_000):
        recent.add(Disconnect(owner=f"user:{second}"), float(second))
    assert len(recent._young) + len(recent._old) <= 120
