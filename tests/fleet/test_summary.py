"""A series of runs: it goes on when one of them fails, and reports that at the end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .chaos import __main__ as command
from .chaos.checker import Kind, Violation
from .chaos.records import Injected
from .chaos.run import Options, Outcome
from .chaos.summary import Summary, reason


def outcome(seed: int, *violations: Violation) -> Outcome:
    return Outcome(
        options=Options(seed=seed), schedule=Options(seed=seed).schedule(), directory=Path(), began=0.0,
        violations=list(violations), counts={"faults": 2, "committed": 1200, "deliveries": 10}, trouble={},
        records=[Injected(began=1.0, at=2.0, kind=kind, target="nginx") for kind in ("kill nginx", "deploy")],
    )  # fmt: skip


def summary() -> Summary:
    return Summary(command="scripts/chaos --seed 1", commit="abc1234")


def test_the_totals_of_all_runs_are_added_up() -> None:
    made = summary()
    for seed in (1, 2):
        made.add(outcome(seed))
    text = made.markdown()
    assert "| faults | 4: 2 kill nginx, 2 deploy |" in text
    assert "| transactions | 2,400 committed, 0 rolled back, 0 unsure |" in text
    assert "| schedules | 2 judged, 0 not" in text
    assert all(f"| {kind.value} | 0 |" in text for kind in Kind)
    assert made.is_good


def test_a_violation_is_counted_with_its_seed() -> None:
    made = summary()
    made.add(outcome(3, Violation(kind=Kind.LOST, what="1 never came")))
    assert "| lost | 1 |" in made.markdown()
    assert "| seeds with a violation | 3 |" in made.markdown()
    assert not made.is_good


def test_a_run_without_a_verdict_is_named_with_its_reason() -> None:
    made = summary()
    made.failed(13, ExceptionGroup("steps", [OSError("address | in use"), OSError("address | in use")]))
    assert "| seed 13 was not judged | OSError: address \\| in use |" in made.markdown()
    assert not made.is_good


def test_a_reason_is_one_line() -> None:
    assert (
        reason(RuntimeError("server-0 ended\nwhile it  started"))
        == "RuntimeError: server-0 ended while it started"
    )
    assert reason(TimeoutError()) == "TimeoutError"


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[..., Outcome]], int]:
    """The command over three seeds, each of which is carried out by a function instead of a fleet."""

    def one(carried_out: Callable[..., Outcome]) -> int:
        monkeypatch.setattr("sys.argv", ["chaos", "--seed", "1", "--schedules", "3", "--keep", str(tmp_path)])
        monkeypatch.setattr(command, "judged", carried_out)
        monkeypatch.setattr(command, "ASKED_TO_END", ())
        monkeypatch.setattr(command, "tell", lambda outcome: None)
        return command.main()

    return one


def test_the_next_schedule_is_carried_out_although_one_could_not_be_judged(
    chaos: Callable[[Callable[..., Outcome]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def second_fails(options: Options, keep: Path) -> Outcome:
        if options.seed == 2:
            raise RuntimeError("the harness is ill")
        return outcome(options.seed)

    assert chaos(second_fails) == 1
    assert "seed 2: not judged: RuntimeError: the harness is ill" in capsys.readouterr().out
    assert "| schedules | 2 judged, 1 not" in (tmp_path / "summary.md").read_text()
    assert "the harness is ill" in (tmp_path / "seed-2" / "not-judged.txt").read_text()


def test_a_series_in_which_nothing_broke_ends_with_zero(
    chaos: Callable[[Callable[..., Outcome]], int],
) -> None:
    assert chaos(lambda options, keep: outcome(options.seed)) == 0
