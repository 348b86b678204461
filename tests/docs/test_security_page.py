"""The page about security names a test for each defence, and each of these tests exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")

DEFENCES, _, REST = PAGE.partition("## Not defended")


def bullets(text: str) -> list[str]:
    """Return the items of the lists, each as one line."""
    return [
        " ".join(item.split())
        for item in re.findall(r"^- (.*?)(?=^- |^$|\Z)", text, re.MULTILINE | re.DOTALL)
    ]


def test_every_defence_names_a_test() -> None:
    found = bullets(DEFENCES)
    assert len(found) > 50
    assert [defence for defence in found if not NAMED.search(defence)] == []


def test_each_named_test_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) == PAGE.count(".py::"), "each test is written as `path.py::name`"
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / "tests" / path).is_file()
        or not re.search(rf"^ *(?:async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_what_is_not_defended_and_what_remains_is_said() -> None:
    assert "{ #not-defended }" in PAGE
    assert "## What remains your duty" in REST
    assert "Report a vulnerability" in PAGE
    assert (ROOT / "SECURITY.md").is_file()
