"""The replica of a roster: which changes it applies, when its list has to be read, and which diffs it gives."""

import msgspec

from holdfast.presence.base import Change, Roster
from holdfast.roster.replica import HELD, MARKS, STEPS, Applied, RosterReplica


def info(member: str, since: int = 1) -> bytes:
    return b'{"id":"%b","since":%d}' % (member.encode(), since)


class Store:
    """A store whose changes can be held back."""

    def __init__(self, life: str = "a") -> None:
        self.life = life
        self.number = 0
        self.mark = ""
        self.members: dict[str, bytes] = {}

    def change(self, joined: str = "", left: str = "") -> Change:
        before, self.number = self.mark, self.number + 1
        self.mark = f"{self.number}-{self.life}"
        entering = {member: info(member) for member in joined}
        self.members |= entering
        for member in left:
            del self.members[member]
        return Change(
            before=before, mark=self.mark, count=len(self.members), joined=entering, left=tuple(left)
        )

    def roster(self, limit: int = 10) -> Roster:
        members = dict(self.members) if len(self.members) <= limit else None
        return Roster(mark=self.mark, count=len(self.members), members=members)


def mirror(store: Store, limit: int = 10) -> RosterReplica:
    made = RosterReplica(limit)
    assert made.replace(store.roster(limit), made.begin_read())
    return made


def told(mirror: RosterReplica, state: int) -> dict[str, object] | None:
    payload = mirror.since(state)
    return None if payload is None else msgspec.json.decode(payload, type=dict[str, object])


def test_the_next_change_is_applied() -> None:
    store = Store()
    copy = mirror(store)
    assert copy.apply(store.change("ab")) is Applied.DONE
    assert copy.apply(store.change("c", "a")) is Applied.DONE
    assert copy.members == store.members


def test_a_known_change_is_dropped() -> None:
    store = Store()
    copy = mirror(store)
    changes = [store.change("a"), store.change("b"), store.change("", "a")]
    assert [copy.apply(change) for change in changes] == [Applied.DONE] * 3
    assert [copy.apply(change) for change in changes] == [Applied.KNOWN] * 3
    assert copy.members == store.members


def test_changes_that_overtook_one_another_are_applied_in_order() -> None:
    store = Store()
    copy = mirror(store)
    first, second, third = store.change("a"), store.change("b"), store.change("c")
    assert [copy.apply(change) for change in (third, second)] == [Applied.EARLY] * 2
    assert copy.members == {}
    assert copy.apply(first) is Applied.DONE
    assert copy.members == store.members
    assert not copy.incomplete


def test_missing_changes_are_not_guessed() -> None:
    """A join and a leave that are both lost leave the count as it was."""
    store = Store()
    store.change("a")
    copy = mirror(store)
    store.change("b", "a")
    assert copy.apply(store.change("c")) is Applied.EARLY
    assert copy.members == {"a": info("a")}
    assert copy.replace(store.roster(), copy.begin_read())
    assert copy.members == store.members


def test_a_read_that_the_replica_has_outrun_is_ignored() -> None:
    store = Store()
    copy = mirror(store)
    copy.apply(store.change("a"))
    asked, old = copy.begin_read(), store.roster()
    copy.apply(store.change("b"))
    assert copy.replace(old, asked)
    assert copy.members == store.members


def test_a_change_that_arrives_before_the_list_that_contains_it_is_not_applied_twice() -> None:
    store = Store()
    copy = RosterReplica(10)
    asked = copy.begin_read()
    early = store.change("a")
    roster = store.roster()
    late = store.change("", "a")
    assert [copy.apply(change) for change in (early, late)] == [Applied.EARLY] * 2
    assert copy.replace(roster, asked)
    assert copy.members == store.members == {}


def test_changes_held_back_before_the_read_are_not_waited_for() -> None:
    """They are from before the store lost its memory, or it has lost them."""
    before, store = Store("before"), Store("after")
    copy = mirror(store)
    for _ in range(50):
        last = before.change("x")
    assert copy.apply(last) is Applied.EARLY
    assert copy.replace(store.roster(), copy.begin_read())
    assert not copy.incomplete


def test_a_change_from_after_the_store_lost_its_memory_is_noticed() -> None:
    store = Store()
    for member in "abc":
        store.change(member)
    copy = mirror(store)
    again = Store("again")
    assert copy.apply(again.change("z")) is Applied.STRANGE
    assert copy.replace(again.roster(), copy.begin_read())
    assert copy.members == {"z": info("z")}


def test_the_number_of_changes_held_back_is_bounded() -> None:
    store = Store()
    copy = mirror(store)
    store.change("a")
    for number in range(3 * HELD):
        copy.apply(store.change("bc"[number % 2]))
    assert len(copy._held) == HELD
    assert copy.replace(store.roster(), copy.begin_read())
    assert len(copy._marks) <= MARKS


def test_changes_since_a_state_are_sent_as_one_diff() -> None:
    store = Store()
    store.change("ab")
    copy = mirror(store)
    state = copy.state
    for change in (store.change("c"), store.change("d"), store.change("", "ac"), store.change("a")):
        copy.apply(change)
    assert told(copy, state) == {"joined": [{"id": "d", "since": 1}]}
    copy.apply(store.change("", "b"))
    assert told(copy, state) == {"joined": [{"id": "d", "since": 1}], "left": ["b"]}
    assert told(copy, copy.state) is None


def test_changes_that_cancel_out_are_not_sent() -> None:
    store = Store()
    copy = mirror(store)
    state = copy.state
    copy.apply(store.change("a"))
    copy.apply(store.change("", "a"))
    assert told(copy, state) is None


def test_a_client_that_knows_nothing_gets_the_list() -> None:
    store = Store()
    store.change("ab")
    assert told(mirror(store), 0) == {"members": [{"id": "a", "since": 1}, {"id": "b", "since": 1}]}


def test_a_client_that_knows_a_very_old_state_gets_the_list() -> None:
    store = Store()
    copy = mirror(store)
    state = copy.state
    for number in range(STEPS + 1):
        copy.apply(store.change("abc"[number % 3]) if number % 2 else store.change("z"))
    assert list(told(copy, state) or {}) == ["members"]


def test_a_list_that_was_read_again_is_sent_as_a_diff() -> None:
    store = Store()
    store.change("ab")
    copy = mirror(store)
    state = copy.state
    store.change("c", "a")
    copy.replace(store.roster(), copy.begin_read())
    assert told(copy, state) == {"joined": [{"id": "c", "since": 1}], "left": ["a"]}
    copy.replace(store.roster(), copy.begin_read())
    assert copy.state == state + 1


def test_beyond_the_limit_members_are_counted_and_the_list_is_read_when_it_fits_again() -> None:
    store = Store()
    copy = mirror(store, limit=2)
    copy.apply(store.change("ab"))
    assert copy.members is not None
    copy.apply(store.change("c"))
    assert (copy.members, told(copy, 1)) == (None, {"count": 3})
    assert copy.apply(store.change("", "a")) is Applied.EARLY
    assert told(copy, copy.state - 1) == {"count": 2}
    assert copy.replace(store.roster(2), copy.begin_read())
    assert list(told(copy, copy.state - 1) or {}) == ["members"]


def test_a_wrong_count_is_corrected_by_reading_the_same_list() -> None:
    store = Store()
    copy = mirror(store)
    assert copy.apply(msgspec.structs.replace(store.change("a"), count=3)) is Applied.EARLY
    assert copy.replace(store.roster(), copy.begin_read()), "else it is read again for ever"
    assert (copy.count, copy.members) == (1, store.members)
