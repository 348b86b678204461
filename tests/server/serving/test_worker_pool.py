"""Decisions of the worker pool of `holdfast serve --workers`, in virtual time."""

import pytest

from holdfast.server.serving.worker_pool import (
    FAILED_TO_START,
    HURRY_SECONDS,
    LONGEST_WAIT_SECONDS,
    READY_SECONDS,
    STABLE_SECONDS,
    DrainWorker,
    HurryWorker,
    Instruction,
    KillWorker,
    Ready,
    Report,
    StartWorker,
    Worker,
    WorkerPool,
)

LEAVING = 60.0


class Stage:
    """A pool whose instructions are recorded, and whose processes are simulated by the test."""

    def __init__(self, size: int = 2) -> None:
        self.now = 100.0
        self.instructions: list[Instruction] = []
        self.started: list[Worker] = []
        self.pool = WorkerPool(size, self._do, leaving_seconds=LEAVING)
        self.pool.begin(self.now)

    def _do(self, order: Instruction) -> None:
        self.instructions.append(order)
        if isinstance(order, StartWorker):
            self.started.append(order.worker)

    def since(self) -> list[Instruction]:
        """Return the instructions since the last call, without the reports."""
        found, self.instructions = self.instructions, []
        self.reports = [order.text for order in found if isinstance(order, Report)]
        return [order for order in found if not isinstance(order, Report)]

    def all_serve(self) -> "Stage":
        for worker in self.started:
            self.pool.serves(worker, self.now)
        self.since()
        return self

    def after(self, seconds: float) -> list[Instruction]:
        """Advance the time as the supervisor does, from one deadline to the next."""
        end = self.now + seconds
        while (at := self.pool.next_time()) is not None and at <= end:
            self.now = max(self.now, at)
            self.pool.tick(self.now)
        self.now = end
        return self.since()


def test_all_start_at_once_and_it_is_ready_when_all_of_them_serve() -> None:
    stage = Stage(3)
    one, two, three = stage.started
    assert stage.since() == [StartWorker(one), StartWorker(two), StartWorker(three)]
    stage.pool.serves(one, stage.now)
    stage.pool.serves(three, stage.now)
    assert not stage.since()
    stage.pool.serves(two, stage.now)
    assert stage.since() == [Ready()]


def test_workers_are_replaced_one_by_one_each_when_its_successor_serves() -> None:
    stage = Stage(2).all_serve()
    old, older = stage.started
    stage.pool.reload(stage.now)
    new = stage.started[2]
    assert stage.since() == [StartWorker(new)]

    stage.pool.serves(new, stage.now)
    assert stage.since() == [DrainWorker(old)], "not before the successor serves, and only this one"

    stage.pool.ended(old, "ended", stage.now)
    newer = stage.started[3]
    assert stage.since() == [StartWorker(newer)], "not before the first has gone"
    stage.pool.serves(newer, stage.now)
    assert stage.since() == [DrainWorker(older)]
    stage.pool.ended(older, "ended", stage.now)
    assert stage.since() == [Ready()]
    assert not stage.pool.reloading


def test_a_reload_whose_new_worker_cannot_start_is_abandoned() -> None:
    stage = Stage(2).all_serve()
    stage.pool.reload(stage.now)
    stage.since()
    stage.pool.ended(stage.started[2], "ended with status 3", stage.now)

    assert stage.since() == [Ready()]
    assert "ended with status 3 before it served. The reload is abandoned" in stage.reports[0]
    assert not stage.after(1000), "and nothing is tried again by itself"


def test_a_new_worker_that_does_not_get_ready_is_killed_and_the_reload_abandoned() -> None:
    stage = Stage(1).all_serve()
    stage.pool.reload(stage.now)
    new = stage.started[1]
    stage.since()
    assert not stage.after(READY_SECONDS - 1)
    assert stage.after(2) == [KillWorker(new)]
    stage.pool.ended(new, "was killed", stage.now)
    assert stage.since() == [Ready()]


def test_a_reload_during_a_reload_starts_when_the_first_is_done() -> None:
    stage = Stage(1).all_serve()
    stage.pool.reload(stage.now)
    stage.pool.reload(stage.now)
    stage.pool.reload(stage.now)
    stage.pool.serves(stage.started[1], stage.now)
    stage.pool.ended(stage.started[0], "ended", stage.now)
    assert len(stage.started) == 3
    stage.pool.serves(stage.started[2], stage.now)
    stage.pool.ended(stage.started[1], "ended", stage.now)
    assert len(stage.started) == 3
    assert not stage.pool.reloading


def test_a_worker_that_dies_while_its_successor_starts_is_not_replaced_twice() -> None:
    stage = Stage(1).all_serve()
    stage.pool.reload(stage.now)
    stage.pool.ended(stage.started[0], "was killed", stage.now)
    assert (
        not [order for order in stage.after(100) if isinstance(order, StartWorker)] or len(stage.started) == 2
    )
    stage.pool.serves(stage.started[1], stage.now)
    assert not stage.pool.reloading


def test_when_both_the_old_and_the_new_one_die_another_is_started() -> None:
    stage = Stage(1).all_serve()
    stage.pool.reload(stage.now)
    stage.pool.ended(stage.started[0], "was killed", stage.now)
    stage.pool.ended(stage.started[1], "was killed", stage.now)
    stage.after(5)
    assert len(stage.started) == 3


def test_a_worker_that_had_lasted_is_replaced_at_once() -> None:
    stage = Stage(2).all_serve()
    stage.after(STABLE_SECONDS)
    stage.pool.ended(stage.started[0], "was killed by SIGKILL", stage.now)
    assert stage.since() == [StartWorker(stage.started[2])]
    assert "was killed by SIGKILL; another one starts at once" in stage.reports[0]


def test_a_worker_that_keeps_dying_is_started_less_and_less_often() -> None:
    stage = Stage(2).all_serve()
    stage.after(STABLE_SECONDS)
    waits = []
    for _ in range(9):
        stage.pool.ended(stage.started[-1], "was killed", stage.now)
        count, died = len(stage.started), stage.now
        while len(stage.started) == count and not any(isinstance(o, StartWorker) for o in stage.instructions):
            stage.now += 0.5
            stage.pool.tick(stage.now)
        waits.append(stage.now - died)
        stage.since()
        stage.pool.serves(stage.started[-1], stage.now)
    assert waits == [0, 1, 2, 4, 8, 16, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]


def test_a_worker_that_cannot_start_while_others_serve_is_retried_with_waits() -> None:
    stage = Stage(2)
    serving, failing = stage.started
    stage.pool.serves(serving, stage.now)
    stage.pool.ended(failing, "ended with status 3", stage.now)
    stage.since()
    assert "before it served; another one starts in 1 s" in stage.reports[0]
    assert stage.after(1.5) == [StartWorker(stage.started[2])]
    assert not stage.pool.over


def test_if_no_worker_can_start_the_pool_ends_with_status_3() -> None:
    stage = Stage(2)
    one, two = stage.started
    stage.since()
    stage.pool.ended(one, "ended with status 3", stage.now)
    assert stage.since() == [DrainWorker(two)]
    assert "before it served; the log above says why" in stage.reports[0]
    stage.pool.ended(two, "ended with status 3", stage.now)
    assert stage.pool.over
    assert stage.pool.status == FAILED_TO_START
    assert not stage.after(1000)


def test_stopping_drains_all_workers_at_once() -> None:
    stage = Stage(3).all_serve()
    stage.pool.stop(stage.now)
    assert set(stage.since()) == {DrainWorker(worker) for worker in stage.started}
    for worker in stage.started:
        assert not stage.pool.over
        stage.pool.ended(worker, "ended", stage.now)
    assert stage.pool.over
    assert stage.pool.status == 0


def test_a_second_stop_hurries_the_workers_and_then_kills_them() -> None:
    stage = Stage(2).all_serve()
    stage.pool.stop(stage.now)
    stage.after(5)
    stage.pool.stop(stage.now)
    assert set(stage.since()) == {HurryWorker(worker) for worker in stage.started}
    assert set(stage.after(HURRY_SECONDS)) == {KillWorker(worker) for worker in stage.started}


def test_a_worker_that_does_not_end_is_killed() -> None:
    stage = Stage(1).all_serve()
    stage.pool.stop(stage.now)
    stage.since()
    assert not stage.after(LEAVING - 1)
    assert stage.after(1) == [KillWorker(stage.started[0])]


@pytest.mark.parametrize("moment", ["starting", "draining"])
def test_stopping_ends_a_reload_at_any_stage(moment: str) -> None:
    stage = Stage(2).all_serve()
    stage.pool.reload(stage.now)
    if moment == "draining":
        stage.pool.serves(stage.started[2], stage.now)
    stage.pool.stop(stage.now)
    for worker in stage.started:
        stage.pool.ended(worker, "ended", stage.now)
    assert stage.pool.over
    assert len(stage.started) == 3


def test_a_worker_that_dies_while_all_stop_is_not_replaced() -> None:
    stage = Stage(2).all_serve()
    stage.pool.stop(stage.now)
    stage.since()
    stage.pool.ended(stage.started[0], "was killed", stage.now)
    assert not stage.after(10)


def test_a_worker_at_its_limit_of_requests_serves_until_its_replacement_does() -> None:
    stage = Stage(2).all_serve()
    worn, other = stage.started
    stage.pool.worn(worn, stage.now)
    stage.pool.worn(other, stage.now)
    stage.pool.worn(worn, stage.now)
    assert stage.since() == [StartWorker(stage.started[2])]
    stage.pool.serves(stage.started[2], stage.now)
    assert stage.since() == [DrainWorker(worn)]
    stage.pool.ended(worn, "ended with status 0", stage.now)
    assert stage.since() == [StartWorker(stage.started[3])]
    stage.pool.serves(stage.started[3], stage.now)
    assert stage.since() == [DrainWorker(other)]
    stage.pool.ended(other, "ended with status 0", stage.now)
    assert stage.since() == [Ready()]
    assert not stage.after(1000)


def test_a_worker_at_its_limit_whose_replacement_fails_keeps_serving_and_may_ask_again() -> None:
    stage = Stage(2).all_serve()
    worn = stage.started[0]
    stage.pool.worn(worn, stage.now)
    stage.pool.ended(stage.started[2], "ended with status 3", stage.now)
    assert DrainWorker(worn) not in stage.since()
    stage.pool.worn(worn, stage.now)
    assert stage.since() == [StartWorker(stage.started[3])]
