"""The limiter in memory: the contract, and the promises beyond it."""

import pytest

from holdfast.limits.base import Limiter
from holdfast.limits.memory import CLEAN_EVERY, MemoryLimiter
from tests.limits.contract import FIVE, LimiterContract
from tests.limits.elsewhere import LimiterElsewhere


class TestMemoryLimiter(LimiterContract):
    @pytest.fixture
    def limiter(self) -> MemoryLimiter:
        return MemoryLimiter()

    def test_it_answers_at_once(self, limiter: MemoryLimiter) -> None:
        assert [limiter.take("ada", FIVE, 0.0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.2]

    def test_a_refused_use_is_not_counted(self, limiter: MemoryLimiter) -> None:
        for _ in range(50):
            limiter.take("ada", FIVE, 0.0)

        assert limiter.take("ada", FIVE, 0.2) == 0

    def test_keys_that_are_no_longer_in_use_are_removed(self, limiter: MemoryLimiter) -> None:
        for number in range(CLEAN_EVERY):
            limiter.take(number, FIVE, 0.0)
        for _ in range(5):
            limiter.take("busy", FIVE, 9.9)
        limiter.take("new", FIVE, 10.0)

        assert len(limiter) < CLEAN_EVERY
        assert limiter.take("busy", FIVE, 10.0) > 0


class TestAwaitedLimiter(LimiterContract):
    """The contract for a limiter whose answers are awaited, as a shared one's would be."""

    @pytest.fixture
    def limiter(self) -> Limiter:
        return LimiterElsewhere()
