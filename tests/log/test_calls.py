"""Call records in the database: the contract, and attempts over several connections and processes."""

import threading

import pytest
from django.db import connections, transaction

from holdfast.log.calls import Answer, Claim
from holdfast.log.database import DatabaseLog
from holdfast.log.database_calls import DatabaseCalls
from tests.log import child
from tests.log.call_contract import MINE, YES, CallContract
from tests.log.transactions import Rollback
from tests.services.databases import in_threads


class TestDatabaseCalls(CallContract):
    """The contract, on SQLite and on PostgreSQL."""

    @pytest.fixture
    def calls(self, database: str) -> DatabaseCalls:
        return DatabaseCalls(database)


@pytest.mark.parametrize("commits", [True, False])
def test_an_attempt_waits_for_the_one_that_holds_its_key(log: DatabaseLog, commits: bool) -> None:
    claimed, asking = threading.Event(), threading.Event()

    def first() -> None:
        try:
            with transaction.atomic(using=log.alias):
                assert log.calls.claim("ada", "1", "post", seconds=60) == MINE
                claimed.set()
                assert asking.wait(20)
                asked_for_a_while.wait(0.05)
                log.calls.answer("ada", "1", YES)
                if not commits:
                    raise Rollback
        except Rollback:
            pass

    # Never set: the second has gone into the database by then, or waits as well.
    asked_for_a_while = threading.Event()

    def second() -> Claim:
        assert claimed.wait(20)
        asking.set()
        with transaction.atomic(using=log.alias):
            return log.calls.claim("ada", "1", "post", seconds=60)

    _, claim = in_threads([first, second])

    assert claim == (Claim(answer=YES) if commits else MINE)


def test_of_many_transactions_at_once_one_carries_the_call_out(log: DatabaseLog) -> None:
    def attempt() -> Claim:
        with transaction.atomic(using=log.alias):
            claim = log.calls.claim("ada", "1", "post", seconds=60)
            if claim.mine:
                log.calls.answer("ada", "1", Answer(payload=b"%d" % threading.get_ident()))
        return claim

    claims = in_threads([attempt] * 8)

    assert claims.count(MINE) == 1
    answers = {claim.answer.payload for claim in claims if isinstance(claim, Claim) and claim.answer}
    assert len(answers) == 1


def test_of_several_processes_one_carries_the_call_out(log: DatabaseLog) -> None:
    database = connections[log.alias].settings_dict
    children = [child.start(database, "claim", "1") for _ in range(3)]

    outcomes = sorted(child.finish(process) for process in children)

    assert outcomes == ["answer", "answer", "mine"]


def test_an_attempt_in_a_killed_process_leaves_no_claim(log: DatabaseLog) -> None:
    assert child.run(connections[log.alias].settings_dict, "claim_and_die", "1") is None

    assert log.calls.claim("ada", "1", "post", seconds=60) == MINE
