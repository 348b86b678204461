"""The token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.protocol.bucket import Bucket


def test_a_full_bucket_gives_as_many_tokens_as_it_holds() -> None:
    bucket = Bucket(3, 1, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [0, 0, 0, 1.0]


def test_an_empty_bucket_returns_the_seconds_until_the_next_token() -> None:
    bucket = Bucket(1, 4, 0.0)
    bucket.take(0.0)
    assert bucket.take(0.125) == 0.125
    assert bucket.take(0.25) == 0


def test_a_bucket_gains_no_more_than_it_holds() -> None:
    bucket = Bucket(2, 1, 0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [0, 0, 1.0]


def test_a_bucket_is_full_when_a_new_one_would_behave_the_same() -> None:
    bucket = Bucket(2, 1, 0.0)
    bucket.take(0.0)
    assert not bucket.full(0.5)
    assert bucket.full(1.0)


@given(
    size=st.integers(1, 20),
    rate=st.floats(0.01, 100),
    pauses=st.lists(st.floats(0, 10), max_size=60),
)
def test_no_period_yields_more_tokens_than_size_and_rate_allow(
    size: int, rate: float, pauses: list[float]
) -> None:
    bucket, now, taken = Bucket(size, rate, 0.0), 0.0, []
    for pause in pauses:
        now += pause
        wait = bucket.take(now)
        assert wait >= 0
        if not wait:
            taken.append(now)
    for i, start in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= size + rate * (taken[j] - start) + 1e-6
