"""A short run of chaos with a fixed schedule, and runs in which a promise is broken on purpose, which must be noticed.

The long run is a command of its own, `scripts/chaos`; docs/chaos.md tells what it does.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.services.fixtures import missing
from tests.services.processes import MissingProgram

from .chaos.checker import Kind
from .chaos.fleet import Services, Setup
from .chaos.report import line, timeline
from .chaos.run import Options, run
from .tables import make_tables

BACKPLANE = "redis"

PATIENCE_SECONDS = 10.0
"""Several times as long as clients of an unharmed Holdfast take here. One that a sabotage cuts off uses up all of it."""


@pytest.fixture(scope="module")
def services(pytestconfig: pytest.Config) -> Iterator[Services]:
    """Services for all runs, one after the other."""
    try:
        with Services.running() as running:
            yield dataclasses.replace(running, template=make_tables(running.postgres))
    except MissingProgram as error:
        missing(pytestconfig, error)


@pytest.mark.timeout(120)
def test_a_fleet_that_breaks_keeps_its_promises(services: Services, tmp_path: Path) -> None:
    options = Options(seed=11, seconds=20, clients=60, setup=Setup(backplane=BACKPLANE))
    outcome = uvloop.run(run(options, services, tmp_path))
    print(line(outcome))
    assert not outcome.violations, "\n".join(timeline(outcome))
    assert not outcome.trouble
    # How many there are depends on what else the machine does.
    assert outcome.counts["committed"] > 20
    assert outcome.counts["deliveries"] > 500
    assert outcome.counts["faults"] >= 10
    assert outcome.counts["faults"] == outcome.faults.total()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("sabotage", "kinds", "seconds"),
    [
        ("skip-gaps", {Kind.LOST}, 12),
        ("no-comparison", {Kind.LOST}, 6),
        # Two processes number at once: the same event twice, or two events with one offset, of which a client sees one.
        ("no-lock", {Kind.DOUBLED, Kind.ALTERED}, 6),
        ("tell-before-commit", {Kind.GHOST}, 6),
        ("forget-keys", {Kind.TWICE}, 6),
        ("skip-the-slow", {Kind.LOST}, 12),
    ],
)
def test_a_promise_that_is_broken_on_purpose_is_noticed(
    sabotage: str, kinds: set[Kind], seconds: float, services: Services, tmp_path: Path
) -> None:
    """A race without its guard is lost sooner or later, but not in each run. So there are up to four runs."""
    setup = Setup(backplane=BACKPLANE, sabotage=sabotage)
    noticed: set[Kind] = set()
    for seed in (5, 6, 7, 8):
        options = Options(
            seed=seed,
            seconds=seconds,
            clients=40,
            calls_per_second=0.5,
            patience=PATIENCE_SECONDS,
            rest=1.0,  # which is for members of killed servers, and none of these promises is about them
            setup=setup,
        )
        outcome = uvloop.run(run(options, services, tmp_path))
        print(line(outcome))
        noticed |= set(outcome.by_kind)
        if kinds & noticed:
            return
    pytest.fail(f"none of {kinds} was noticed, only {noticed or 'nothing'}")
