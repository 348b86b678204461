"""What every log promises about calls that are carried out once; part of the contract."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from holdfast.log.base import Answer, Claim, Log, LogError
from tests.log.transactions import rolled_back
from tests.services.databases import in_threads

MINE, RUNNING, LOST, REUSED = Claim(mine=True), Claim(running=True), Claim(lost=True), Claim(reused=True)
YES = Answer(payload=b'{"id":7}')


class ClaimContract:
    def test_a_key_is_given_to_one_attempt(self, log: Log) -> None:
        assert log.claim("ada", "1", "rooms/lobby post", seconds=60) == MINE
        assert log.claim("ada", "1", "rooms/lobby post", seconds=60) == RUNNING
        assert log.claim("grace", "1", "rooms/lobby post", seconds=60) == MINE
        assert log.claim("ada", "2", "rooms/lobby post", seconds=60) == MINE

    @pytest.mark.parametrize("answer", [YES, Answer(payload=b'{"code":"refused"}', failed=True)])
    def test_a_later_attempt_gets_the_first_answer(self, log: Log, answer: Answer) -> None:
        log.claim("ada", "1", "post", seconds=60)
        log.answer("ada", "1", answer)

        assert log.claim("ada", "1", "post", seconds=60) == Claim(answer=answer)

    def test_a_key_that_belongs_to_another_call_is_refused(self, log: Log) -> None:
        log.claim("ada", "1", "post", seconds=60)
        assert log.claim("ada", "1", "delete", seconds=60) == REUSED
        log.answer("ada", "1", YES)
        assert log.claim("ada", "1", "delete", seconds=60) == REUSED

    def test_an_attempt_that_does_not_answer_in_time_is_lost(self, log: Log) -> None:
        log.claim("ada", "1", "post", seconds=0)

        assert log.claim("ada", "1", "post", seconds=60) == LOST

    def test_an_answer_that_came_late_is_an_answer(self, log: Log) -> None:
        log.claim("ada", "1", "post", seconds=0)
        log.answer("ada", "1", YES)

        assert log.claim("ada", "1", "post", seconds=60) == Claim(answer=YES)

    def test_a_claim_that_is_given_back_can_be_taken_again(self, log: Log) -> None:
        log.claim("ada", "1", "post", seconds=60)
        log.release("ada", "1")

        assert log.claim("ada", "1", "delete", seconds=60) == MINE

    def test_an_answer_cannot_be_given_back(self, log: Log) -> None:
        log.claim("ada", "1", "post", seconds=60)
        log.answer("ada", "1", YES)
        log.release("ada", "1")

        assert log.claim("ada", "1", "post", seconds=60) == Claim(answer=YES)

    def test_what_nobody_claimed_cannot_be_answered(self, log: Log) -> None:
        with pytest.raises(LogError, match="not claimed"):
            log.answer("ada", "1", YES)

    def test_a_claim_vanishes_with_its_transaction(self, log: Log) -> None:
        with rolled_back(log.alias):
            assert log.claim("ada", "1", "post", seconds=60) == MINE
            log.answer("ada", "1", YES)

        assert log.claim("ada", "1", "post", seconds=60) == MINE

    def test_a_claim_stays_when_its_transaction_commits(self, log: Log) -> None:
        with transaction.atomic(using=log.alias):
            log.claim("ada", "1", "post", seconds=60)
            log.answer("ada", "1", YES)

        assert log.claim("ada", "1", "post", seconds=60) == Claim(answer=YES)

    def test_old_answers_and_lost_claims_are_forgotten_and_running_ones_are_not(self, log: Log) -> None:
        for key, seconds in [("answered", 60), ("lost", 0), ("running", 60)]:
            log.claim("ada", key, "post", seconds=seconds)
        log.answer("ada", "answered", YES)

        assert log.forget_answers(timezone.now() - timedelta(hours=1)) == 0
        assert log.forget_answers(timezone.now() + timedelta(hours=1)) == 2
        assert log.claim("ada", "answered", "post", seconds=60) == MINE
        assert log.claim("ada", "lost", "post", seconds=60) == MINE
        assert log.claim("ada", "running", "post", seconds=60) == RUNNING

    def test_of_many_attempts_at_once_one_is_carried_out(self, log: Log) -> None:
        claims = in_threads([lambda: log.claim("ada", "1", "post", seconds=60)] * 8)

        assert claims.count(MINE) == 1
        assert claims.count(RUNNING) == 7
