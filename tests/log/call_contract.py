"""The contract of every store of call records."""

import time
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from holdfast.log.base import LogError
from holdfast.log.calls import RECORD_BYTES, Answer, CallStore, Claim
from tests.log.transactions import rolled_back
from tests.services.databases import in_threads

MINE, RUNNING, LOST, REUSED = Claim(mine=True), Claim(running=True), Claim(lost=True), Claim(reused=True)
YES = Answer(payload=b'{"id":7}')


class CallContract:
    def test_a_key_is_given_to_one_attempt(self, calls: CallStore) -> None:
        assert calls.claim("ada", "1", "rooms/lobby post", seconds=60) == MINE
        assert calls.claim("ada", "1", "rooms/lobby post", seconds=60) == RUNNING
        assert calls.claim("grace", "1", "rooms/lobby post", seconds=60) == MINE
        assert calls.claim("ada", "2", "rooms/lobby post", seconds=60) == MINE

    @pytest.mark.parametrize("answer", [YES, Answer(payload=b'{"code":"refused"}', failed=True)])
    def test_a_later_attempt_gets_the_first_answer(self, calls: CallStore, answer: Answer) -> None:
        calls.claim("ada", "1", "post", seconds=60)
        calls.answer("ada", "1", answer)

        assert calls.claim("ada", "1", "post", seconds=60) == Claim(answer=answer)

    def test_a_key_that_belongs_to_another_call_is_refused(self, calls: CallStore) -> None:
        calls.claim("ada", "1", "post", seconds=60)
        assert calls.claim("ada", "1", "delete", seconds=60) == REUSED
        calls.answer("ada", "1", YES)
        assert calls.claim("ada", "1", "delete", seconds=60) == REUSED

    def test_an_attempt_that_does_not_answer_in_time_is_lost(self, calls: CallStore) -> None:
        calls.claim("ada", "1", "post", seconds=0)

        assert calls.claim("ada", "1", "post", seconds=60) == LOST

    def test_an_answer_that_came_late_is_an_answer(self, calls: CallStore) -> None:
        calls.claim("ada", "1", "post", seconds=0)
        calls.answer("ada", "1", YES)

        assert calls.claim("ada", "1", "post", seconds=60) == Claim(answer=YES)

    def test_a_claim_that_is_given_back_can_be_taken_again(self, calls: CallStore) -> None:
        calls.claim("ada", "1", "post", seconds=60)
        calls.release("ada", "1")

        assert calls.claim("ada", "1", "delete", seconds=60) == MINE

    def test_an_answer_cannot_be_given_back(self, calls: CallStore) -> None:
        calls.claim("ada", "1", "post", seconds=60)
        calls.answer("ada", "1", YES)
        calls.release("ada", "1")

        assert calls.claim("ada", "1", "post", seconds=60) == Claim(answer=YES)

    def test_an_unclaimed_call_cannot_be_answered(self, calls: CallStore) -> None:
        with pytest.raises(LogError, match="not claimed"):
            calls.answer("ada", "1", YES)

    def test_a_claim_vanishes_with_its_transaction(self, calls: CallStore) -> None:
        with rolled_back(calls.alias):
            assert calls.claim("ada", "1", "post", seconds=60) == MINE
            calls.answer("ada", "1", YES)

        assert calls.claim("ada", "1", "post", seconds=60) == MINE

    def test_a_claim_stays_when_its_transaction_commits(self, calls: CallStore) -> None:
        with transaction.atomic(using=calls.alias):
            calls.claim("ada", "1", "post", seconds=60)
            calls.answer("ada", "1", YES)

        assert calls.claim("ada", "1", "post", seconds=60) == Claim(answer=YES)

    def test_old_answers_and_lost_claims_are_forgotten_and_running_ones_are_not(
        self, calls: CallStore
    ) -> None:
        for key, seconds in [("answered", 60), ("lost", 0), ("running", 60)]:
            calls.claim("ada", key, "post", seconds=seconds)
        calls.answer("ada", "answered", YES)

        assert calls.forget(timezone.now() - timedelta(hours=1)) == 0
        assert calls.forget(timezone.now() + timedelta(hours=1)) == 2
        assert calls.claim("ada", "answered", "post", seconds=60) == MINE
        assert calls.claim("ada", "lost", "post", seconds=60) == MINE
        assert calls.claim("ada", "running", "post", seconds=60) == RUNNING

    def test_a_look_at_an_earlier_attempt_claims_nothing(self, calls: CallStore) -> None:
        assert calls.find("ada", "1", "post") is None
        assert calls.claim("ada", "1", "post", seconds=60) == MINE
        assert calls.find("ada", "1", "post") == RUNNING
        calls.answer("ada", "1", YES)
        assert calls.find("ada", "1", "post") == Claim(answer=YES)
        assert calls.find("ada", "1", "delete") == REUSED
        calls.claim("ada", "2", "post", seconds=0)
        assert calls.find("ada", "2", "post") == LOST

    def test_answers_of_some_owners_can_be_forgotten_before_those_of_others(self, calls: CallStore) -> None:
        for owner in ("user:1", "client:1", "client:2"):
            calls.claim(owner, "k", "post", seconds=60)
            calls.answer(owner, "k", YES)
        later = timezone.now() + timedelta(hours=1)

        assert calls.forget(later, since=later, owners="client:") == 0
        assert calls.forget(later, since=later - timedelta(hours=2), owners="client:") == 2
        assert calls.find("user:1", "k", "post") == Claim(answer=YES)
        assert calls.find("client:1", "k", "post") is None

    @pytest.mark.parametrize(
        ("count", "size"), [(3, 10**6), (100, 3 * (RECORD_BYTES + len(YES.payload)))], ids=["count", "size"]
    )
    def test_an_owner_s_oldest_answers_are_trimmed(self, calls: CallStore, count: int, size: int) -> None:
        for number in range(5):
            for owner in ("ada", "grace"):
                calls.claim(owner, str(number), "post", seconds=60)
                calls.answer(owner, str(number), YES)
            time.sleep(0.002)  # Redis counts in milliseconds
        past, later = timezone.now() - timedelta(hours=1), timezone.now() + timedelta(hours=1)

        assert calls.trim("ada", count=count, size=size, before=past) == 0
        assert calls.trim("ada", count=count, size=size, before=later) == 2
        kept = [number for number in range(5) if calls.find("ada", str(number), "post")]
        assert kept == [2, 3, 4]
        assert all(calls.find("grace", str(number), "post") for number in range(5))

    def test_a_running_attempt_is_not_trimmed(self, calls: CallStore) -> None:
        calls.claim("ada", "1", "post", seconds=60)

        assert calls.trim("ada", count=0, size=0, before=timezone.now() + timedelta(hours=1)) == 0
        assert calls.find("ada", "1", "post") == RUNNING

    def test_of_many_attempts_at_once_one_is_carried_out(self, calls: CallStore) -> None:
        claims = in_threads([lambda: calls.claim("ada", "1", "post", seconds=60)] * 8)

        assert claims.count(MINE) == 1
        assert claims.count(RUNNING) == 7
