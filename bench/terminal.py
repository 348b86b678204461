"""Results on the terminal."""

from bench.figures import Table
from bench.goals import goals
from bench.views import NAMES, View, views


def show(table: Table) -> None:
    for view in views(table):
        if view.rows:
            _show(view)
    for key, why in table.missing.items():
        print(f"  missing: {NAMES.get(key, key)}: {why}")
    for key, why in table.refused.items():
        print(f"  REFUSED: {NAMES.get(key, key)}: its figures do not hold: {why}")


def _show(view: View) -> None:
    lines = [view.heads, *view.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(view.heads))]
    print(f"\n{view.title}")
    for line in lines:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join([first, *others]))


def judge(tables: dict[str, Table]) -> None:
    found = list(goals(tables))
    if found:
        print("\nGoals")
    for goal in found:
        print(f"  {'met   ' if goal.met else 'MISSED'}  {goal.what}: {goal.found} (wanted: {goal.wanted})")
