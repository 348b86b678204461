"""The judge of fault schedules, on histories made by hand."""

import pytest

from .schedule import Heard, Schedule, judge

SCHEDULE = Schedule(seed=1, calls=3)
TOLD = [{"id": number} for number in (5, 6, 7)]


def heard(
    *,
    answers: tuple[int, ...] = (5, 6, 7),
    events: tuple[int, ...] = (5, 6, 7),
    waits: tuple[float, ...] = (),
    left: tuple[str, ...] = (),
) -> Heard:
    return Heard(
        answers=list(answers),
        events=[{"id": number} for number in events],
        waits=list(waits),
        left=list(left),
    )


def test_a_client_that_heard_everything_once_and_waited_long_enough_has_done_nothing_wrong() -> None:
    waits = tuple(SCHEDULE.wait(number) for number in (1, 2, 3))
    assert judge(SCHEDULE, heard(waits=waits), TOLD) == []


@pytest.mark.parametrize(
    ("history", "word"),
    [
        pytest.param(heard(events=(5, 7)), "heard [5, 7]", id="an event is lost"),
        pytest.param(heard(events=(5, 6, 6, 7)), "heard [5, 6, 6, 7]", id="an event came twice"),
        pytest.param(heard(events=(6, 5, 7)), "heard [6, 5, 7]", id="events came out of order"),
        pytest.param(heard(answers=(5, 6, 6)), "2 of 3 calls", id="two calls have one answer"),
        pytest.param(heard(answers=(5, 6, 8)), "carried out", id="an answer belongs to no effect"),
        pytest.param(heard(waits=(0.0,)), "attempt 1 came after", id="an attempt came at once"),
        pytest.param(
            heard(waits=(SCHEDULE.wait(1), SCHEDULE.wait(1))),
            "attempt 2 came after",
            id="a wait did not grow",
        ),
        pytest.param(heard(left=("a timer",)), "left after the end: a timer", id="a timer is left"),
    ],
)
def test_a_broken_promise_is_found(history: Heard, word: str) -> None:
    assert any(word in line for line in judge(SCHEDULE, history, TOLD))


def test_a_call_that_was_carried_out_twice_is_found() -> None:
    assert judge(SCHEDULE, heard(events=(5, 6, 7, 8)), [*TOLD, {"id": 8}])
