"""manage.py holdfast: the commands that maintain the log."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from holdfast import Event, Keep, Topic, runtime, wiring
from holdfast.control.commands import TOPIC
from holdfast.log.base import Draft, LogUnavailable
from holdfast.log.database import DatabaseLog
from holdfast.topics.registry import registry

pytestmark = pytest.mark.django_db(transaction=True)


class Said(Event):
    body: str


class Room(Topic):
    """Keeps its newest two."""

    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep(count=2)

    def may_join(self, user: Any) -> bool:
        return True


class Inbox(Topic):
    route = "users/<me>/inbox"
    events = [Said]
    keep = Keep(days=2, hours=12)


class Ticker(Topic):
    route = "ticker"


@pytest.fixture(autouse=True)
def _topics() -> Iterator[None]:
    with registry.override([Room, Inbox, Ticker]), runtime.using(wiring.build_runtime()):
        yield


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("holdfast", *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.mark.parametrize("command", ["trim", "sweep", "renew-epochs"])
def test_a_log_that_cannot_answer_is_an_error_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LogUnavailable("the log's database 'default' does not answer: no route to host")

    for name in ("topics", "sweep"):
        monkeypatch.setattr(DatabaseLog, name, away)
    with pytest.raises(CommandError, match="does not answer: no route to host"):
        run(command)


def test_trim_keeps_as_many_events_as_each_topic_declares() -> None:
    Room(room="lobby").publish(*(Said(str(n)) for n in range(5)))
    Inbox(me="7").publish(Said("a"))
    assert run("trim") == "Deleted 3 events of 1 topics, and 0 results of calls.\n"
    heads = DatabaseLog("default").heads(["rooms/lobby", "users/7/inbox"])
    assert (heads["rooms/lobby"].floor, heads["rooms/lobby"].offset) == (3, 5)
    assert heads["users/7/inbox"].floor == 0


def test_trim_deletes_events_that_are_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    Inbox(me="7").publish(Said("a"))
    later = timezone.now() + timedelta(days=3)
    monkeypatch.setattr("holdfast.management.commands.holdfast.timezone.now", lambda: later)
    assert "Deleted 1 events of 1 topics" in run("trim")


def test_trim_forgets_old_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    DatabaseLog("default").calls.claim("user:7", "k1", "rooms/lobby post", seconds=1)
    later = timezone.now() + timedelta(hours=25)
    monkeypatch.setattr("holdfast.management.commands.holdfast.timezone.now", lambda: later)
    assert "and 1 results of calls" in run("trim")


def test_trim_keeps_events_whose_name_matches_no_topic() -> None:
    DatabaseLog("default").append([Draft(topic="gone/1", name="x", payload=b"{}")])
    assert "Not trimmed, because no durable topic has such a name: gone/1." in run("trim")


def test_trim_deletes_revocations_after_a_day_without_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    Room(room="lobby").evict(7)
    assert run("trim") == "Deleted 0 events of 0 topics, and 0 results of calls.\n"
    assert DatabaseLog("default").heads([TOPIC])[TOPIC].floor == 0
    later = timezone.now() + timedelta(hours=25)
    monkeypatch.setattr("holdfast.management.commands.holdfast.timezone.now", lambda: later)
    assert run("trim") == "Deleted 0 events of 0 topics, and 0 results of calls.\n"
    assert DatabaseLog("default").heads([TOPIC])[TOPIC].floor == 1


def test_a_dry_run_of_trim_deletes_nothing() -> None:
    Room(room="lobby").publish(*(Said(str(n)) for n in range(5)))
    assert run("trim", "--dry-run") == (
        "Would delete 3 events of 1 topics, and results of calls that are too old.\n"
    )
    assert DatabaseLog("default").heads(["rooms/lobby"])["rooms/lobby"].floor == 0


def test_the_epochs_of_all_topics_are_renewed() -> None:
    Room(room="lobby").publish(Said("a"))
    Inbox(me="7").publish(Said("a"))
    log, names = DatabaseLog("default"), ["rooms/lobby", "users/7/inbox"]
    before = log.heads(names)
    assert run("renew-epochs") == "Renewed the epochs of 2 topics.\n"
    after = log.heads(names)
    assert all(after[name].epoch != before[name].epoch for name in names)
    assert all(after[name].offset == before[name].offset for name in names)


def test_the_epoch_of_one_topic_is_renewed() -> None:
    Room(room="lobby").publish(Said("a"))
    Inbox(me="7").publish(Said("a"))
    log, names = DatabaseLog("default"), ["rooms/lobby", "users/7/inbox"]
    before = log.heads(names)
    assert run("renew-epochs", "--topic", "rooms/lobby") == "Renewed the epochs of 1 topics.\n"
    after = log.heads(names)
    assert [after[name].epoch != before[name].epoch for name in names] == [True, False]


def test_an_unknown_topic_is_not_renewed() -> None:
    with pytest.raises(CommandError, match="The log has no topic 'rooms/nowhere'"):
        run("renew-epochs", "--topic", "rooms/nowhere")


def test_sweep_delivers_events_that_were_left_over() -> None:
    assert run("sweep") == "Delivered 0 events that had been left over.\n"


def test_topics_lists_routes_classes_storage_and_rules() -> None:
    lines = [line.split("  ") for line in run("topics").splitlines()]
    table = [[cell.strip() for cell in line if cell] for line in lines]
    assert table == [
        ["route", "topic", "stored", "may join"],
        ["rooms/<slug:room>", f"{__name__}.Room", "2 events", "may_join"],
        [
            "users/<me>/inbox",
            f"{__name__}.Inbox",
            "2.5 days",
            "no user: there is no may_join and no requires",
        ],
        ["ticker", f"{__name__}.Ticker", "not stored", "no user: there is no may_join and no requires"],
    ]


def test_without_topics_the_output_says_where_to_define_them() -> None:
    with registry.override([]):
        assert "define Topic subclasses in the live.py of an installed app" in run("topics")


def test_without_a_subcommand_the_error_lists_the_subcommands() -> None:
    with pytest.raises(CommandError, match="command"):
        run()
