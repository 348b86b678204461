"""Schedules of faults: they follow from their seeds, and contain no impossible demands."""

from collections import Counter

import pytest

from .chaos.schedule import CALM_AFTER, CALM_BEFORE, Fault, Size, make

FULL = Size(revocation=True)


def test_a_seed_gives_the_same_schedule_again() -> None:
    assert make(7, 30, FULL) == make(7, 30, FULL)


def test_another_seed_gives_another_one() -> None:
    assert make(7, 30, FULL).steps != make(8, 30, FULL).steps


@pytest.mark.parametrize("seed", range(20))
def test_never_are_two_faults_under_way_on_one_target(seed: int) -> None:
    until: dict[str, float] = {}
    for step in make(seed, 60, FULL).steps:
        targets = (
            [f"server-{n}" for n in range(FULL.servers)] if step.fault is Fault.DEPLOY else [step.target]
        )
        for target in targets:
            assert step.at >= until.get(target, 0.0), step
            until[target] = step.at + step.seconds


@pytest.mark.parametrize("seed", range(20))
def test_all_faults_are_over_at_the_end(seed: int) -> None:
    for step in make(seed, 40, FULL).steps:
        assert step.at >= CALM_BEFORE
        assert step.at + step.seconds <= 40 - CALM_AFTER + 0.1, step


def test_every_fault_comes_up_sooner_or_later() -> None:
    found = Counter(step.fault for seed in range(50) for step in make(seed, 40, FULL).steps)
    assert set(found) == set(Fault)


def test_a_schedule_breaks_no_part_that_is_missing() -> None:
    found = {step.fault for seed in range(50) for step in make(seed, 40, Size(redis=False)).steps}
    targets = {step.target for seed in range(50) for step in make(seed, 40, Size(redis=False)).steps}
    assert not {fault for fault in found if "redis" in fault.value}
    assert not {target for target in targets if target.startswith("redis")}
    assert Fault.EVICT not in found
