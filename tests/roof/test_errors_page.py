"""docs/errors.md lists every system check."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_check_has_its_place_on_the_page_of_errors() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src/holdfast").glob("*checks*.py"))
    raised = set(re.findall(r'"(holdfast\.[EW]\d{3})"', sources))
    listed = set(
        re.findall(
            r"^### .*\{ #(holdfast\.[EW]\d{3}) \}$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
        )
    )
    assert listed == raised
