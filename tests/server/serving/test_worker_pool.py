"""The workers of `holdfast serve --workers`: what is decided about them, in a time that only moves when told."""

import pytest

from holdfast.server.serving.worker_pool import (
    FAILED_TO_START,
    HURRY_SECONDS,
    LONGEST_WAIT_SECONDS,
    READY_SECONDS,
    STABLE_SECONDS,
    Crew,
    Drain,
    Hurry,
    Kill,
    Order,
    Ready,
    Say,
    Start,
    Worker,
)

LEAVING = 60.0


class Stage:
    """A crew whose orders are noted, and whose processes are the test's word."""

    def __init__(self, size: int = 2) -> None:
        self.now = 100.0
        self.orders: list[Order] = []
        self.started: list[Worker] = []
        self.crew = Crew(size, self._do, leaving_seconds=LEAVING)
        self.crew.begin(self.now)

    def _do(self, order: Order) -> None:
        self.orders.append(order)
        if isinstance(order, Start):
            self.started.append(order.worker)

    def since(self) -> list[Order]:
        """The orders since this was last asked, without what is said."""
        orders, self.orders = self.orders, []
        self.said = [order.text for order in orders if isinstance(order, Say)]
        return [order for order in orders if not isinstance(order, Say)]

    def all_serve(self) -> "Stage":
        for worker in self.started:
            self.crew.serves(worker, self.now)
        self.since()
        return self

    def after(self, seconds: float) -> list[Order]:
        """Let time pass, as the supervisor does: from one deadline to the next."""
        end = self.now + seconds
        while (at := self.crew.next_time()) is not None and at <= end:
            self.now = max(self.now, at)
            self.crew.tick(self.now)
        self.now = end
        return self.since()


def test_all_start_at_once_and_it_is_ready_when_all_of_them_serve() -> None:
    stage = Stage(3)
    one, two, three = stage.started
    assert stage.since() == [Start(one), Start(two), Start(three)]
    stage.crew.serves(one, stage.now)
    stage.crew.serves(three, stage.now)
    assert not stage.since()
    stage.crew.serves(two, stage.now)
    assert stage.since() == [Ready()]


def test_workers_are_replaced_one_by_one_each_when_its_successor_serves() -> None:
    stage = Stage(2).all_serve()
    old, older = stage.started
    stage.crew.reload(stage.now)
    new = stage.started[2]
    assert stage.since() == [Start(new)]

    stage.crew.serves(new, stage.now)
    assert stage.since() == [Drain(old)], "not before the successor serves, and only this one"

    stage.crew.ended(old, "ended", stage.now)
    newer = stage.started[3]
    assert stage.since() == [Start(newer)], "not before the first has gone"
    stage.crew.serves(newer, stage.now)
    assert stage.since() == [Drain(older)]
    stage.crew.ended(older, "ended", stage.now)
    assert stage.since() == [Ready()]
    assert not stage.crew.reloading


def test_a_reload_whose_new_worker_cannot_start_is_given_up_and_the_old_ones_stay() -> None:
    stage = Stage(2).all_serve()
    stage.crew.reload(stage.now)
    stage.since()
    stage.crew.ended(stage.started[2], "ended with status 3", stage.now)

    assert stage.since() == [Ready()]
    assert "ended with status 3 before it served: the reload is given up" in stage.said[0]
    assert not stage.after(1000), "and nothing is tried again by itself"


def test_a_new_worker_that_does_not_get_ready_is_killed_and_the_reload_given_up() -> None:
    stage = Stage(1).all_serve()
    stage.crew.reload(stage.now)
    new = stage.started[1]
    stage.since()
    assert not stage.after(READY_SECONDS - 1)
    assert stage.after(2) == [Kill(new)]
    stage.crew.ended(new, "was killed", stage.now)
    assert stage.since() == [Ready()]


def test_another_reload_meanwhile_begins_again_when_the_first_is_done() -> None:
    stage = Stage(1).all_serve()
    stage.crew.reload(stage.now)
    stage.crew.reload(stage.now)
    stage.crew.reload(stage.now)
    stage.crew.serves(stage.started[1], stage.now)
    stage.crew.ended(stage.started[0], "ended", stage.now)
    assert len(stage.started) == 3
    stage.crew.serves(stage.started[2], stage.now)
    stage.crew.ended(stage.started[1], "ended", stage.now)
    assert len(stage.started) == 3
    assert not stage.crew.reloading


def test_a_worker_that_dies_while_its_successor_starts_is_not_replaced_twice() -> None:
    stage = Stage(1).all_serve()
    stage.crew.reload(stage.now)
    stage.crew.ended(stage.started[0], "was killed", stage.now)
    assert not [order for order in stage.after(100) if isinstance(order, Start)] or len(stage.started) == 2
    stage.crew.serves(stage.started[1], stage.now)
    assert not stage.crew.reloading


def test_when_both_the_old_and_the_new_one_die_another_is_started() -> None:
    stage = Stage(1).all_serve()
    stage.crew.reload(stage.now)
    stage.crew.ended(stage.started[0], "was killed", stage.now)
    stage.crew.ended(stage.started[1], "was killed", stage.now)
    stage.after(5)
    assert len(stage.started) == 3


def test_a_worker_that_had_lasted_is_replaced_at_once() -> None:
    stage = Stage(2).all_serve()
    stage.after(STABLE_SECONDS)
    stage.crew.ended(stage.started[0], "was killed by SIGKILL", stage.now)
    assert stage.since() == [Start(stage.started[2])]
    assert "was killed by SIGKILL; another one starts at once" in stage.said[0]


def test_a_worker_that_keeps_dying_is_started_less_and_less_often() -> None:
    stage = Stage(2).all_serve()
    stage.after(STABLE_SECONDS)
    waits = []
    for _ in range(9):
        stage.crew.ended(stage.started[-1], "was killed", stage.now)
        count, died = len(stage.started), stage.now
        while len(stage.started) == count and not any(isinstance(o, Start) for o in stage.orders):
            stage.now += 0.5
            stage.crew.tick(stage.now)
        waits.append(stage.now - died)
        stage.since()
        stage.crew.serves(stage.started[-1], stage.now)
    assert waits == [0, 1, 2, 4, 8, 16, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]


def test_one_that_cannot_start_while_others_serve_is_tried_again_with_waits() -> None:
    stage = Stage(2)
    serving, failing = stage.started
    stage.crew.serves(serving, stage.now)
    stage.crew.ended(failing, "ended with status 3", stage.now)
    stage.since()
    assert "before it served; another one starts in 1 s" in stage.said[0]
    assert stage.after(1.5) == [Start(stage.started[2])]
    assert not stage.crew.over


def test_if_none_can_start_everything_ends_with_a_status_that_says_so() -> None:
    stage = Stage(2)
    one, two = stage.started
    stage.since()
    stage.crew.ended(one, "ended with status 3", stage.now)
    assert stage.since() == [Drain(two)]
    assert "before it served: the reason stands above" in stage.said[0]
    stage.crew.ended(two, "ended with status 3", stage.now)
    assert stage.crew.over
    assert stage.crew.status == FAILED_TO_START
    assert not stage.after(1000)


def test_all_are_drained_at_once_when_it_stops() -> None:
    stage = Stage(3).all_serve()
    stage.crew.stop(stage.now)
    assert set(stage.since()) == {Drain(worker) for worker in stage.started}
    for worker in stage.started:
        assert not stage.crew.over
        stage.crew.ended(worker, "ended", stage.now)
    assert stage.crew.over
    assert stage.crew.status == 0


def test_the_second_time_they_are_hurried_and_then_killed() -> None:
    stage = Stage(2).all_serve()
    stage.crew.stop(stage.now)
    stage.after(5)
    stage.crew.stop(stage.now)
    assert set(stage.since()) == {Hurry(worker) for worker in stage.started}
    assert set(stage.after(HURRY_SECONDS)) == {Kill(worker) for worker in stage.started}


def test_one_that_does_not_leave_is_killed_at_last() -> None:
    stage = Stage(1).all_serve()
    stage.crew.stop(stage.now)
    stage.since()
    assert not stage.after(LEAVING - 1)
    assert stage.after(1) == [Kill(stage.started[0])]


@pytest.mark.parametrize("moment", ["starting", "draining"])
def test_stopping_ends_a_reload_whatever_it_is_doing(moment: str) -> None:
    stage = Stage(2).all_serve()
    stage.crew.reload(stage.now)
    if moment == "draining":
        stage.crew.serves(stage.started[2], stage.now)
    stage.crew.stop(stage.now)
    for worker in stage.started:
        stage.crew.ended(worker, "ended", stage.now)
    assert stage.crew.over
    assert len(stage.started) == 3


def test_a_worker_that_dies_while_all_stop_is_not_replaced() -> None:
    stage = Stage(2).all_serve()
    stage.crew.stop(stage.now)
    stage.since()
    stage.crew.ended(stage.started[0], "was killed", stage.now)
    assert not stage.after(10)
