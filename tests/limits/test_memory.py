"""Rate limits counted in this process."""

from holdfast.limits.base import Rate
from holdfast.limits.memory import CLEAN_EVERY, MemoryLimiter

FIVE = Rate.parse("5/s")


def test_each_key_has_the_rate_for_itself() -> None:
    limiter = MemoryLimiter()
    assert [limiter.take("ada", FIVE, 0.0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.2]
    assert limiter.take("grace", FIVE, 0.0) == 0


def test_each_rate_of_a_key_counts_for_itself() -> None:
    limiter = MemoryLimiter()
    for _ in range(5):
        limiter.take("ada", FIVE, 0.0)
    assert limiter.take("ada", Rate.parse("1/m"), 0.0) == 0


def test_what_is_refused_does_not_count() -> None:
    limiter = MemoryLimiter()
    for _ in range(50):
        limiter.take("ada", FIVE, 0.0)
    assert limiter.take("ada", FIVE, 0.2) == 0


def test_those_who_have_not_been_seen_lately_are_forgotten() -> None:
    limiter = MemoryLimiter()
    for number in range(CLEAN_EVERY):
        limiter.take(number, FIVE, 0.0)
    for _ in range(5):
        limiter.take("busy", FIVE, 9.9)
    limiter.take("new", FIVE, 10.0)
    assert len(limiter) < CLEAN_EVERY
    assert limiter.take("busy", FIVE, 10.0) > 0
