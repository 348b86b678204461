"""The judge of fault schedules, on histories made by hand."""

import pytest

from .schedule import Attempt, Heard, Schedule, judge

SCHEDULE = Schedule(seed=1, calls=3)
TOLD = [{"id": number} for number in (5, 6, 7)]


def heard(
    *,
    answers: tuple[int, ...] = (5, 6, 7),
    events: tuple[int, ...] = (5, 6, 7),
    attempts: tuple[Attempt, ...] = (),
    left: tuple[str, ...] = (),
) -> Heard:
    return Heard(
        answers=list(answers),
        events=[{"id": number} for number in events],
        attempts=list(attempts),
        left=list(left),
    )


def attempt(number: int, *, waited: float | None = None, lasted: float = 0.0) -> Attempt:
    """An attempt that was planned as the ``number``-th since the backoff began."""
    planned = SCHEDULE.wait(number)
    return Attempt(lasted=lasted, planned=planned, waited=planned if waited is None else waited)


def test_a_client_that_heard_everything_once_and_waited_long_enough_has_done_nothing_wrong() -> None:
    assert judge(SCHEDULE, heard(attempts=(attempt(1), attempt(2), attempt(3, waited=9.0))), TOLD) == []


def test_a_client_may_begin_its_backoff_again_after_a_steady_connection() -> None:
    attempts = (attempt(1), attempt(2), attempt(1, lasted=10.0), attempt(2, lasted=3.0))
    assert judge(SCHEDULE, heard(attempts=attempts), TOLD) == []


def test_a_wait_that_the_server_asked_for_may_be_longer_than_the_backoffs() -> None:
    assert judge(SCHEDULE, heard(attempts=(Attempt(lasted=0.0, planned=4.0, waited=4.0),)), TOLD) == []


@pytest.mark.parametrize(
    ("history", "word"),
    [
        pytest.param(heard(events=(5, 7)), "heard [5, 7]", id="an event is lost"),
        pytest.param(heard(events=(5, 6, 6, 7)), "heard [5, 6, 6, 7]", id="an event came twice"),
        pytest.param(heard(events=(6, 5, 7)), "heard [6, 5, 7]", id="events came out of order"),
        pytest.param(heard(answers=(5, 6, 6)), "2 of 3 calls", id="two calls have one answer"),
        pytest.param(heard(answers=(5, 6, 8)), "carried out", id="an answer belongs to no effect"),
        pytest.param(
            heard(attempts=(attempt(1, waited=0.0),)), "attempt 1 came after", id="an attempt came at once"
        ),
        pytest.param(
            heard(attempts=(attempt(1), attempt(1))), "attempt 2 was planned after", id="a wait did not grow"
        ),
        pytest.param(
            heard(attempts=(attempt(1), attempt(2), attempt(1, lasted=9.8))),
            "attempt 3 was planned after",
            id="the backoff began again too soon",
        ),
        pytest.param(
            heard(attempts=(attempt(1), attempt(1, lasted=10.0), attempt(1))),
            "attempt 2 was planned after",
            id="the backoff began again twice",
        ),
        pytest.param(heard(left=("a timer",)), "left after the end: a timer", id="a timer is left"),
    ],
)
def test_a_broken_promise_is_found(history: Heard, word: str) -> None:
    assert any(word in line for line in judge(SCHEDULE, history, TOLD))


def test_a_call_that_was_carried_out_twice_is_found() -> None:
    assert judge(SCHEDULE, heard(events=(5, 6, 7, 8)), [*TOLD, {"id": 8}])
