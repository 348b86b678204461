"""The checker, on histories made by hand: it finds each kind of violation, and reports nothing else."""

import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from .chaos.checker import Case, Kind, check
from .chaos.records import (
    Answered,
    Asked,
    Closed,
    Ended,
    Entry,
    Finished,
    Got,
    Injected,
    Joined,
    Left,
    Opened,
    Presence,
    Readmitted,
    Record,
    Renewed,
    Reset,
    Revoked,
    Tried,
    Truth,
)
from .chaos.records import TopicLog as Log

ROOM = "rooms/r0"
ME: dict[str, Any] = {"client": "c", "link": 1}


def crc(value: str) -> int:
    return zlib.crc32(value.encode())


def entry(offset: int, *, exclude: str = "", name: str = "said", at: float = 0.0) -> Entry:
    value = f"w:{offset}"
    return Entry(offset=offset, name=name, value=value, check=crc(value), exclude=exclude, at=at)


def truth(*entries: Entry, rows: Iterable[tuple[str, str]] | None = None, waiting: int = 0) -> Truth:
    """A log of one room, and by default the rows that belong to it."""
    log = Log(epoch="e", head=max((one.offset for one in entries), default=0), entries=list(entries))
    written = [(ROOM, one.value) for one in entries if one.name == "said"] if rows is None else list(rows)
    return Truth(logs={ROOM: log}, rows=written, waiting=waiting)


def opened(at: float = 0.0, link: int = 1, client: str = "c", user: str = "7", server: int = 0) -> Opened:
    return Opened(at=at, client=client, link=link, user=user, server=server, via="web-0")


def joined(at: float = 0.0, since: int | None = None, offset: int = 0, **more: Any) -> Joined:
    recovered = more.pop("recovered", None if since is None else True)
    fields = {**ME, "epoch": "e", "members": None, **more}
    return Joined(at=at, topic=ROOM, since=since, offset=offset, recovered=recovered, **fields)


def got(offset: int, at: float = 1.0, **more: Any) -> Got:
    value = more.pop("value", f"w:{offset}")
    fields = {**ME, "name": "said", **more}
    return Got(at=at, topic=ROOM, value=value, check=crc(value), offset=offset, **fields)


def tick(value: str) -> Got:
    return Got(at=1.0, topic="tickers/t0", name="tick", value=value, check=0, offset=None, **ME)


def joined_ticker() -> Joined:
    return Joined(
        at=0.0, topic="tickers/t0", since=None, epoch=None, offset=None, recovered=None, members=None, **ME
    )


def finished(at: float = 9.0, client: str = "c") -> Finished:
    return Finished(at=at, client=client, missing=[], pending=[])


def kinds(held: Truth, *records: Record, **options: Any) -> list[Kind]:
    return [violation.kind for violation in check(Case.of(held, records, **options))]


THREE = truth(entry(1), entry(2), entry(3))

# ── delivery ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_got_everything_once_and_in_order_is_no_violation() -> None:
    assert kinds(THREE, opened(), joined(), got(1), got(2), got(3), finished()) == []


def test_events_before_the_first_join_are_not_missed() -> None:
    assert kinds(THREE, opened(), joined(offset=2), got(3), finished()) == []


def test_coming_back_with_a_position_goes_on_where_it_was() -> None:
    story = [opened(), joined(), got(1), Closed(at=2.0, code=1006, why="", **ME)]
    story += [opened(2.5, link=2), joined(3.0, since=1, offset=3, link=2), got(2, link=2), got(3, link=2)]
    assert kinds(THREE, *story, finished()) == []


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_an_event_that_never_came_is_lost(missing: int) -> None:
    story = [got(offset) for offset in (1, 2, 3) if offset != missing]
    assert kinds(THREE, opened(), joined(), *story, finished()) == [Kind.LOST]


def test_an_event_that_came_again_is_doubled() -> None:
    assert kinds(THREE, opened(), joined(), got(1), got(2), got(2), got(3), finished()) == [Kind.DOUBLED]


def test_an_event_that_comes_again_on_the_next_connection_is_doubled() -> None:
    story = [opened(), joined(), got(1), opened(2.0, link=2), joined(2.0, since=1, offset=3, link=2)]
    story += [got(offset, link=2) for offset in (1, 2, 3)]
    assert kinds(THREE, *story, finished()) == [Kind.DOUBLED]


def test_an_event_after_a_later_one_is_reordered_and_not_lost() -> None:
    assert kinds(THREE, opened(), joined(), got(1), got(3), got(2), finished()) == [Kind.REORDERED]


def test_an_event_that_is_not_in_the_log_is_a_ghost() -> None:
    assert kinds(THREE, opened(), joined(), got(1), got(2), got(3), got(4), finished()) == [Kind.GHOST]


def test_another_event_than_the_logs_is_altered() -> None:
    story = [got(1), got(2, value="another"), got(3)]
    assert kinds(THREE, opened(), joined(), *story, finished()) == [Kind.ALTERED]


def test_a_head_beyond_the_logs_is_a_ghost() -> None:
    assert kinds(THREE, opened(), joined(offset=4), finished()) == [Kind.GHOST]


def test_a_client_need_not_get_what_excludes_it() -> None:
    held = truth(entry(1), entry(2, exclude="c"), entry(3))
    assert kinds(held, opened(), joined(), got(1), got(3), finished()) == []


def test_a_client_must_not_get_what_excludes_it() -> None:
    held = truth(entry(1, exclude="c"))
    assert kinds(held, opened(), joined(), got(1), finished()) == [Kind.STRAY]


def test_an_event_after_the_subscription_ended_is_a_stray() -> None:
    ended = Left(at=1.0, topic=ROOM, code="forbidden", **ME)
    assert Kind.STRAY in kinds(THREE, opened(), joined(), ended, got(1), finished())


def test_a_hole_that_is_none_is_a_false_alarm_and_says_what_was_skipped_once() -> None:
    story = [opened(), joined(), got(1), opened(2.0, link=2)]
    story.append(joined(2.0, since=1, offset=2, recovered=False, link=2))
    assert kinds(THREE, *story, got(3, link=2), finished()) == [Kind.FALSE_ALARM]


def test_a_reset_of_a_log_that_is_whole_is_a_false_alarm() -> None:
    story = [got(1), Reset(at=1.5, topic=ROOM, reason="trimmed", offset=2, **ME), got(3)]
    assert kinds(THREE, opened(), joined(), *story, finished()) == [Kind.FALSE_ALARM]


def test_a_client_that_still_waits_in_the_end_is_stranded() -> None:
    end = Finished(at=9.0, client="c", missing=[ROOM], pending=["post c-1"])
    assert kinds(truth(), opened(), end) == [Kind.STRANDED, Kind.STRANDED]


def test_of_ephemeral_events_some_may_be_missing() -> None:
    held = truth(rows=[("tickers/t0", f"w:{number}") for number in range(3)])
    assert kinds(held, opened(), joined_ticker(), tick("w:0"), tick("w:2"), finished()) == []


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["w:1", "w:1"], Kind.DOUBLED), (["w:1", "w:0"], Kind.REORDERED), (["w:7"], Kind.GHOST)],
)
def test_ephemeral_events_come_at_most_once_in_order_and_only_if_committed(
    values: list[str], kind: Kind
) -> None:
    held = truth(rows=[("tickers/t0", f"w:{number}") for number in range(3)])
    assert kinds(held, opened(), joined_ticker(), *map(tick, values), finished()) == [kind]


def test_an_ephemeral_event_may_come_again_on_another_connection() -> None:
    held = truth(rows=[("tickers/t0", "w:0")])
    story = [opened(), joined_ticker(), tick("w:0"), opened(2.0, link=2), joined_ticker(), tick("w:0")]
    assert kinds(held, *story, finished()) == []


# ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def attempt(
    *kept: tuple[str, str], dropped: Iterable[tuple[str, str]] = (), outcome: str = "committed"
) -> list[Record]:
    tried = Tried(at=1.0, writer="w", number=1, kept=list(kept), dropped=list(dropped))
    return [tried, Ended(at=2.0, writer="w", number=1, outcome=outcome)]


def test_a_row_without_its_event_is_a_missing_commit() -> None:
    assert kinds(truth(rows=[(ROOM, "w:1")])) == [Kind.MISSING_COMMIT]


def test_an_event_without_its_row_is_a_ghost() -> None:
    assert kinds(truth(entry(1), rows=[])) == [Kind.GHOST]


def test_an_event_that_stands_in_the_log_twice_is_doubled() -> None:
    again = Entry(offset=2, name="said", value="w:1", check=0, exclude="", at=0.0)
    assert kinds(truth(entry(1), again, rows=[(ROOM, "w:1")])) == [Kind.DOUBLED]


def test_a_hole_in_the_log_is_a_loss() -> None:
    assert kinds(truth(entry(1), entry(3))) == [Kind.LOST]


def test_an_event_without_a_number_is_stranded() -> None:
    assert kinds(truth(rows=[(ROOM, "w:1")], waiting=1)) == [Kind.STRANDED]


def test_events_published_outside_of_a_transaction_have_no_row() -> None:
    assert kinds(truth(entry(1, name="curtain"))) == []


def test_a_writers_outcomes_agree_with_the_database() -> None:
    assert kinds(truth(entry(1)), *attempt((ROOM, "w:1"), dropped=[(ROOM, "w:9")])) == []


def test_a_commit_whose_rows_are_gone_is_missing() -> None:
    assert kinds(truth(), *attempt((ROOM, "w:1"))) == [Kind.MISSING_COMMIT]


def test_an_event_that_rolled_back_and_is_in_the_log_is_a_ghost() -> None:
    story = attempt(dropped=[(ROOM, "w:1")], outcome="rolled back")
    assert kinds(truth(entry(1)), *story) == [Kind.GHOST]


def test_half_a_transaction_is_a_ghost() -> None:
    story = attempt((ROOM, "w:1"), (ROOM, "w:2"), outcome="unsure")
    assert kinds(truth(entry(1)), *story) == [Kind.GHOST]


@pytest.mark.parametrize("held", [truth(), truth(entry(1))])
def test_an_unsure_writer_may_have_committed_or_not(held: Truth) -> None:
    assert kinds(held, *attempt((ROOM, "w:1"), outcome="unsure")) == []


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(value: str = "w:1") -> Asked:
    return Asked(at=1.0, topic=ROOM, action="post", key="c-1", value=value, **ME)


def answered(value: str = "w:1", code: str = "") -> Answered:
    return Answered(at=2.0, key="c-1", value=value, code=code, **ME)


@pytest.mark.parametrize("passing", ["unavailable", "not_joined"])
def test_a_call_that_was_sent_again_has_one_effect_and_one_answer(passing: str) -> None:
    story = [opened(), asked(), answered("", passing), asked(), answered()]
    assert kinds(truth(entry(1)), *story) == []


def test_a_call_with_two_effects_was_carried_out_twice() -> None:
    again = Entry(offset=2, name="said", value="w:1", check=0, exclude="", at=0.0)
    held = truth(entry(1), again, rows=[(ROOM, "w:1"), (ROOM, "w:1")])
    assert kinds(held, opened(), asked(), answered()) == [Kind.TWICE]


def test_a_call_with_a_result_and_no_effect_was_not_done() -> None:
    assert kinds(truth(), opened(), asked(), answered()) == [Kind.UNDONE]


def test_an_error_and_an_effect_contradict_each_other() -> None:
    assert kinds(truth(entry(1)), opened(), asked(), answered("", "internal")) == [Kind.TWICE]


@pytest.mark.parametrize("held", [truth(), truth(entry(1))])
def test_an_unknown_outcome_may_have_had_an_effect_or_not(held: Truth) -> None:
    assert kinds(held, opened(), asked(), answered("", "outcome_unknown")) == []


def test_two_different_answers_are_one_too_many() -> None:
    found = kinds(truth(entry(1)), opened(), asked(), answered(), answered("w:2"))
    assert found == [Kind.TWICE, Kind.TWICE]


# ── revocation ───────────────────────────────────────────────────────────────────────────────────────────────────────

EVICTED = Revoked(at=10.0, began=9.9, act="eviction", user="7", topic=ROOM)
BACK = Readmitted(at=20.0, user="7", topic=ROOM)


def shut_out(
    published: float, arrived: float, *more: Record, opened_at: float = 0.0, server: int = 0
) -> list[Kind]:
    held = truth(entry(1, at=published))
    story = [opened(opened_at, server=server), joined(opened_at), got(1, at=arrived), finished(30.0)]
    return kinds(held, *story, *more, revocation_seconds=2.0)


def test_events_published_after_an_eviction_do_not_arrive() -> None:
    assert shut_out(12.5, 12.6, EVICTED, BACK) == [Kind.AFTER_REVOCATION]


def test_events_published_before_a_revocation_may_still_be_under_way() -> None:
    assert shut_out(9.0, 15.0, EVICTED, BACK) == []


def test_a_revocation_may_take_the_time_that_is_promised() -> None:
    assert shut_out(11.9, 12.0, EVICTED, BACK) == []


def test_a_user_who_was_let_in_again_gets_the_events_published_in_between() -> None:
    assert shut_out(15.0, 20.1, EVICTED, BACK) == []


def test_others_are_not_meant() -> None:
    other = Revoked(at=10.0, began=9.9, act="eviction", user="8", topic=ROOM)
    assert shut_out(15.0, 15.1, other) == []


@pytest.mark.parametrize("target", ["postgres-0", "postgres", "server-0"])
def test_a_server_that_cannot_know_is_given_time_until_it_can(target: str) -> None:
    fault = Injected(at=14.0, began=11.0, kind="black hole", target=target)
    assert shut_out(15.9, 15.95, EVICTED, BACK, fault) == []
    assert shut_out(16.1, 16.2, EVICTED, BACK, fault) == [Kind.AFTER_REVOCATION]


def test_another_servers_fault_is_no_excuse() -> None:
    fault = Injected(at=14.0, began=11.0, kind="black hole", target="postgres-1")
    assert shut_out(13.0, 13.1, EVICTED, BACK, fault) == [Kind.AFTER_REVOCATION]


def test_each_servers_fault_excuses_one_that_is_not_known() -> None:
    fault = Injected(at=14.0, began=11.0, kind="black hole", target="postgres-1")
    assert shut_out(15.9, 15.95, EVICTED, BACK, fault, server=-1) == []
    assert shut_out(16.1, 16.2, EVICTED, BACK, fault, server=-1) == [Kind.AFTER_REVOCATION]


def test_a_disconnection_ends_the_connections_of_its_time_and_no_later_ones() -> None:
    gone = Revoked(at=10.0, began=9.9, act="disconnection", user="7")
    assert shut_out(13.0, 13.1, gone) == [Kind.AFTER_REVOCATION]
    assert shut_out(13.0, 13.1, gone, opened_at=11.0) == []


@pytest.mark.parametrize(("renewed", "found"), [(11.0, []), (9.0, [Kind.AFTER_REVOCATION])])
def test_a_connection_that_a_server_accepted_again_behind_the_pages_back_is_a_later_one(
    renewed: float, found: list[Kind]
) -> None:
    gone = Revoked(at=10.0, began=9.9, act="disconnection", user="7")
    held = truth(entry(1, at=13.0))
    story = [opened(0.0), joined(0.0), Renewed(at=renewed, **ME), got(1, at=13.1), finished(30.0)]
    assert kinds(held, *story, gone, revocation_seconds=2.0) == found


def test_a_logout_ends_one_device_only() -> None:
    here = Revoked(at=10.0, began=9.9, act="logout", user="7", client="c")
    there = Revoked(at=10.0, began=9.9, act="logout", user="7", client="d")
    assert shut_out(13.0, 13.1, here) == [Kind.AFTER_REVOCATION]
    assert shut_out(13.0, 13.1, there) == []


# ── presence ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def change(joined: Iterable[str] = (), left: Iterable[str] = (), at: float = 2.0) -> Presence:
    return Presence(at=at, topic=ROOM, joined=list(joined), left=list(left), **ME)


def present(*story: Record) -> list[Kind]:
    return kinds(truth(), opened(user="7"), *story, finished(5.0), presence_topics=frozenset([ROOM]))


def test_a_list_and_its_changes_that_end_at_the_truth_are_no_contradiction() -> None:
    assert (
        present(joined(members=["7", "8"]), change(left=["8"]), change(joined=["9"]), change(left=["9"]))
        == []
    )


def test_a_member_that_joins_again_may_be_announced_again() -> None:
    assert present(joined(members=["7"]), change(joined=["7"])) == []


def test_no_member_joins_and_leaves_in_one_change() -> None:
    assert present(joined(members=["7", "8"]), change(joined=["8"], left=["8"]), change(left=["8"])) == [
        Kind.PRESENCE
    ]


def test_a_list_may_come_later_and_changes_only_after_it() -> None:
    whole = Presence(at=2.0, topic=ROOM, joined=[], left=[], members=["7"], **ME)
    assert present(joined(members=None), whole) == []
    assert present(joined(members=None), change(joined=["7"]), whole) == [Kind.PRESENCE]


def test_a_member_that_is_not_on_the_list_cannot_leave() -> None:
    assert present(joined(members=["7"]), change(left=["8"])) == [Kind.PRESENCE]


def test_a_list_names_no_member_twice() -> None:
    assert present(joined(members=["7", "7"])) == [Kind.PRESENCE]


def test_a_member_that_is_connected_in_the_end_is_on_the_list() -> None:
    assert present(joined(members=[])) == [Kind.PRESENCE]


def test_a_member_that_is_gone_in_the_end_is_not_on_the_list() -> None:
    assert present(joined(members=["7", "8"])) == [Kind.PRESENCE]


def test_a_new_connection_begins_with_a_new_list() -> None:
    again = joined(3.0, since=0, link=2, members=["7"])
    assert present(joined(members=["7", "8"]), opened(3.0, link=2), again) == []


def two(
    *seen: Record, until: float = 40.0, away: float | None = None, faults: Iterable[Record] = ()
) -> list[Kind]:
    """Check the history of a client on server 0, while another user is on server 1 all the time or until ``away``."""
    other: dict[str, Any] = {"client": "d", "link": 1}
    story: list[Record] = [opened(client="d", user="8", server=1), joined(members=["7", "8"], **other)]
    if away is not None:
        story.append(Closed(at=away, code=1006, why="", **other))
    story += [opened(), joined(members=["7", "8"]), *seen, finished(until)]
    if away is None:
        story.append(finished(until, client="d"))
    held = Case.of(truth(), [*story, *faults], presence_topics=frozenset([ROOM]))
    return [violation.kind for violation in check(held)]


def test_no_connected_member_is_missing_for_long() -> None:
    assert two(change(left=["8"], at=10.0), change(joined=["8"], at=16.0)) == []
    assert two(change(left=["8"], at=10.0), change(joined=["8"], at=18.0)) == [Kind.PRESENCE]


def test_a_member_that_is_gone_is_not_listed_for_long() -> None:
    assert two(change(left=["8"], at=30.0), away=10.0) == []
    assert two(change(left=["8"], at=32.0), away=10.0) == [Kind.PRESENCE]


@pytest.mark.parametrize("target", ["redis", "redis-1", "server-0"])
def test_lists_may_be_wrong_while_something_is_and_as_long_as_healing_takes(target: str) -> None:
    fault = Injected(at=20.0, began=9.0, kind="pause", target=target)
    assert two(change(left=["8"], at=10.0), change(joined=["8"], at=33.0), faults=[fault]) == []
    assert two(change(left=["8"], at=10.0), change(joined=["8"], at=35.0), faults=[fault]) == [Kind.PRESENCE]
