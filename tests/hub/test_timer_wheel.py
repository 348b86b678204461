"""Timer wheel: one timer for all connections."""

import pytest

from holdfast.hub.timer_wheel import TimerWheel


class Item:
    def __init__(self, *answers: float | None) -> None:
        self.answers = list(answers)
        self.looks: list[float] = []

    def check(self, now: float) -> float | None:
        self.looks.append(now)
        return self.answers.pop(0)


def test_an_item_is_checked_soon_after_its_time_and_not_before() -> None:
    wheel, item = TimerWheel(), Item(None)
    wheel.watch(item, 10.5)
    wheel.turn(10.9)
    assert item.looks == []
    wheel.turn(11.0)
    assert item.looks == [11.0]
    assert len(wheel) == 0


def test_an_item_is_checked_again_when_it_asks_for_it() -> None:
    wheel, item = TimerWheel(), Item(20.0, None)
    wheel.watch(item, 1)
    for second in range(30):
        wheel.turn(float(second))
    assert item.looks == [2.0, 21.0]


def test_a_time_that_has_passed_means_the_next_turn() -> None:
    wheel, item = TimerWheel(), Item(-5.0, None)
    wheel.watch(item, 0)
    wheel.turn(7.2)
    wheel.turn(8.2)
    assert item.looks == [7.2, 8.2]


def test_missed_turns_are_made_up_for() -> None:
    wheel, items = TimerWheel(), [Item(None) for _ in range(5)]
    for at, item in enumerate(items):
        wheel.watch(item, at)
    wheel.turn(1000.0)
    assert [item.looks for item in items] == [[1000.0]] * 5


def test_an_item_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    wheel, broken, item = TimerWheel(), Item(), Item(None)
    wheel.watch(broken, 0)
    wheel.watch(item, 0)
    wheel.turn(1.0)
    assert item.looks == [1.0]
    assert "the deadline check of" in caplog.text
