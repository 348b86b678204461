"""Results of scripts/bench: their statistics, tables and pages."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import page
from bench.figures import Table
from bench.goals import goals
from bench.plots import plots
from bench.views import views


@pytest.fixture
def fanout() -> Table:
    table = Table(workload="fanout", missing={"centrifugo": "no Go toolchain on this machine"})
    for key, costs in {"holdfast": (3.0, 2.8, 3.4), "floor": (2.5, 2.4, 2.6), "ws": (5.0, 5.1, 4.9)}.items():
        for us in costs:
            table.add((key, 1000, 1), us=us, per_second=1e6 / us, load_busy=0.4)
    return table


def result(directory: Path, table: Table, *, quick: bool = False, others: float = 0.01) -> Path:
    machine = {
        "processor": "a processor",
        "cores": 2,
        "kernel": "Linux",
        "python": "3.11",
        "begun": "2026-01-01T00:00:00+00:00",
        "commit": "abc",
        "others": {"fanout": others},
    }
    scale = {"quick": quick, "runs": 3, "seconds": 5}
    file = directory / "result.json"
    file.write_text(json.dumps({"machine": machine, "scale": scale, "tables": [table.as_json()]}))
    return file


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "benchmarks.md"
    file.write_text(
        "# By hand\n\n<!-- bench:fanout -->\nfrom last year\n<!-- /bench:fanout -->\n\nAlso by hand.\n"
    )
    monkeypatch.setattr(page, "ROOT", tmp_path)
    monkeypatch.setattr(page, "PAGE", file)
    monkeypatch.setattr(page, "PLOTS", tmp_path / "benchmarks")
    return file


def test_a_figure_is_the_median_with_the_least_and_the_most_of_its_runs(fanout: Table) -> None:
    (view,) = views(fanout)
    assert view.rows[0][:3] == ["Holdfast", "3.00 (2.80 to 3.40)", "1.20"]


def test_goals_are_judged_by_the_medians(fanout: Table) -> None:
    assert [(goal.wanted, goal.met) for goal in goals({"fanout": fanout})] == [
        ("≤ 1.5 times the floor", True),
        ("< ws", True),
    ]


def test_a_plot_is_well_formed_and_names_every_peer(fanout: Table) -> None:
    ((name, _, svg),) = plots(fanout)
    texts = [element.text for element in ET.fromstring(svg).iter() if element.text]
    assert name == "fanout-1000"
    assert "Node.js, ws" in texts


def test_publishing_leaves_what_was_written_by_hand(fanout: Table, docs: Path) -> None:
    assert page.publish(result(docs.parent, fanout)) == 0
    text = docs.read_text()
    assert text.startswith("# By hand")
    assert text.endswith("Also by hand.\n")
    assert "from last year" not in text
    assert "- Centrifugo: no Go toolchain on this machine" in text
    assert (docs.parent / "benchmarks" / "fanout-1000.svg").exists()


@pytest.mark.parametrize("reason", [{"quick": True}, {"others": 0.5}, {"refused": "7 of 8 calls"}])
def test_figures_that_mean_nothing_are_not_published(
    fanout: Table, docs: Path, reason: dict[str, object]
) -> None:
    if why := reason.pop("refused", None):
        fanout.refused["ws"] = str(why)
    assert page.publish(result(docs.parent, fanout, **reason)) == 1  # type: ignore[arg-type]
    assert "from last year" in docs.read_text()


def test_a_result_read_back_is_the_same(fanout: Table) -> None:
    fanout.refused["ws"] = "7 of 8 calls"
    again = Table.from_json(json.loads(json.dumps(fanout.as_json())))
    assert again == fanout
