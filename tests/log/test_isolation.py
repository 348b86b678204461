"""Isolation levels stricter than PostgreSQL's default: a statement of the log that meets a conflict is tried again."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import pytest
from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from holdfast.log.base import Head
from holdfast.log.calls import Answer, Claim
from holdfast.log.database import DatabaseLog
from holdfast.log.tables import CALL, ENTRY, TOPIC
from tests.log.events import create, drafts, numbers
from tests.log.transactions import a_transaction_waits
from tests.services.databases import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])

T = TypeVar("T")

ALIAS = "postgres"


@pytest.fixture(params=["repeatable read", "serializable"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseLog]:
    """The server's default level, as ``ALTER ROLE … SET`` gives it; Django's own option is for transactions only."""
    level = str(request.param).replace(" ", "\\ ")
    connections[ALIAS].close()
    with monkeypatch.context() as patch:
        patch.setitem(
            connections[ALIAS].settings_dict,
            "OPTIONS",
            {"options": f"-c default_transaction_isolation={level}"},
        )
        yield DatabaseLog(ALIAS)
    connections[ALIAS].close()


def overtaken(work: Callable[[], T], first: str, *parameters: str) -> T:
    """Do ``work`` while another transaction has carried out ``first`` and commits it."""
    begun, waited = threading.Event(), threading.Event()

    def other() -> None:
        with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
            cursor.execute(first, parameters)
            begun.set()
            assert waited.wait(20)

    def own() -> T:
        assert begun.wait(20)
        return work()

    def watch() -> None:
        assert begun.wait(20)
        try:
            a_transaction_waits(ALIAS)
        finally:
            waited.set()

    results = in_threads([own, other, watch])
    return results[0]  # type: ignore[return-value]


INSERT_TOPIC = f"INSERT INTO {TOPIC} (name, epoch, head, created_at) VALUES (%s, 'theirs', 0, now())"
TOUCH_TOPIC = f"UPDATE {TOPIC} SET epoch = 'theirs' WHERE name = %s"
INSERT_CALL = (
    f'INSERT INTO {CALL} (owner, "key", target, failed, created_at, expires_at, answer)'
    " VALUES ('user:7', %s, 'deck.ring', false, now() - interval '1 day', now() + interval '1 day', %s)"
)


def test_a_topic_that_one_creates_while_its_first_epoch_is_renewed(log: DatabaseLog, topic: str) -> None:
    head = overtaken(lambda: log.rotate_epoch(topic), INSERT_TOPIC, topic)
    assert head == Head(epoch="theirs", offset=0)


def test_a_topic_that_two_create_while_numbering(log: DatabaseLog, topic: str) -> None:
    with transaction.atomic(using=ALIAS):
        log.stage(drafts(topic, 1), lambda _: None)
        connections[ALIAS].run_on_commit.clear()
    (batch,) = overtaken(lambda: log.sequence([topic]), INSERT_TOPIC, topic)
    assert batch.epoch == "theirs"


def test_an_epoch_that_two_renew(log: DatabaseLog, topic: str) -> None:
    create(log, topic)
    assert overtaken(lambda: log.rotate_epoch(topic), TOUCH_TOPIC, topic).epoch == "theirs"


def test_a_call_that_two_claim(log: DatabaseLog, topic: str) -> None:
    claim = overtaken(
        lambda: log.calls.claim("user:7", topic, "deck.ring", seconds=60), INSERT_CALL, topic, "1"
    )
    assert claim == Claim(answer=Answer(payload=b"1"))


def test_a_call_that_two_answer(log: DatabaseLog, topic: str) -> None:
    log.calls.claim("user:7", topic, "deck.ring", seconds=60)
    overtaken(
        lambda: log.calls.answer("user:7", topic, Answer(payload=b"2")),
        f'UPDATE {CALL} SET answer = %s WHERE "key" = %s',
        "1",
        topic,
    )
    assert log.calls.claim("user:7", topic, "deck.ring", seconds=60) == Claim(answer=Answer(payload=b"2"))


def test_a_claim_given_back_that_is_answered(log: DatabaseLog, topic: str) -> None:
    log.calls.claim("user:7", topic, "deck.ring", seconds=60)
    overtaken(
        lambda: log.calls.release("user:7", topic),
        f'UPDATE {CALL} SET answer = %s WHERE "key" = %s',
        "1",
        topic,
    )
    assert log.calls.claim("user:7", topic, "deck.ring", seconds=60) == Claim(answer=Answer(payload=b"1"))


def test_answers_that_two_forget(log: DatabaseLog, topic: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(INSERT_CALL, (topic, "1"))
        cursor.execute(INSERT_CALL, (f"{topic}/2", "1"))
    forgotten = overtaken(
        lambda: log.calls.forget(timezone.now() - timedelta(hours=1)),
        f'DELETE FROM {CALL} WHERE "key" = %s',
        topic,
    )
    assert forgotten == 1


def test_entries_that_two_trim(log: DatabaseLog, topic: str) -> None:
    log.append(drafts(topic, *range(10)))
    overtaken(
        lambda: log.trim(topic, count=3),
        f'DELETE FROM {ENTRY} WHERE "offset" < 3 AND topic_id = (SELECT id FROM {TOPIC} WHERE name = %s)',
        topic,
    )
    assert numbers(log, topic) == [7, 8, 9]


def test_inside_a_transaction_the_conflict_is_its_owners(log: DatabaseLog, topic: str) -> None:
    """Only the owner can begin again."""

    def inside() -> None:
        with transaction.atomic(using=ALIAS):
            log.rotate_epoch(topic)

    with pytest.raises(DatabaseError) as raised:
        overtaken(inside, INSERT_TOPIC, topic)
    assert getattr(raised.value.__cause__, "sqlstate", None) == "40001"
