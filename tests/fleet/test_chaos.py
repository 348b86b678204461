"""A short run of chaos with a fixed schedule, and runs in which a promise is broken on purpose, which must be noticed.

The long run is a command of its own, `scripts/chaos`; docs/chaos.md tells what it does.
"""

from pathlib import Path

import pytest
import uvloop

from tests.services.fixtures import missing
from tests.services.processes import MissingProgram

from .chaos.checker import Kind
from .chaos.fleet import Services, Setup
from .chaos.report import line, timeline
from .chaos.run import Options, Outcome, run

BACKPLANE = "redis"


def carried_out(options: Options, directory: Path, config: pytest.Config) -> Outcome:
    try:
        with Services.running() as services:
            return uvloop.run(run(options, services, directory))
    except MissingProgram as error:
        missing(config, error)


@pytest.mark.timeout(120)
def test_a_fleet_that_breaks_keeps_its_promises(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    options = Options(seed=11, seconds=20, clients=60, setup=Setup(backplane=BACKPLANE))
    outcome = carried_out(options, tmp_path, pytestconfig)
    print(line(outcome))
    assert not outcome.violations, "\n".join(timeline(outcome))
    assert not outcome.trouble
    assert outcome.counts["committed"] > 50
    assert outcome.counts["deliveries"] > 1000
    assert outcome.counts["faults"] >= 10


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("sabotage", "kind"),
    [("no-comparison", Kind.LOST), ("no-lock", Kind.DOUBLED), ("tell-before-commit", Kind.GHOST)],
)
def test_a_promise_that_is_broken_on_purpose_is_noticed(
    sabotage: str, kind: Kind, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """A race that nothing guards any more is lost sooner or later, not in each run: up to four of them."""
    setup = Setup(backplane=BACKPLANE, sabotage=sabotage)
    noticed: set[Kind] = set()
    for seed in (5, 6, 7, 8):
        outcome = carried_out(Options(seed=seed, seconds=6, clients=40, setup=setup), tmp_path, pytestconfig)
        print(line(outcome))
        noticed |= set(outcome.by_kind)
        if kind in noticed:
            return
    pytest.fail(f"{kind} was not noticed, only {noticed or 'nothing'}")
