"""docs/errors.md lists every system check, and the pages quote log messages as the code writes them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_check_has_its_place_on_the_page_of_errors() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src/holdfast").rglob("*.py"))
    raised = set(re.findall(r'"(holdfast\.[EW]\d{3})"', sources))
    listed = set(
        re.findall(
            r"^### .*\{ #(holdfast\.[EW]\d{3}) \}$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
        )
    )
    assert listed == raised


def written() -> str:
    """All texts of the package, with the parts of a string that stands on several lines joined."""
    sources = [path.read_text() for path in (ROOT / "src/holdfast").rglob("*.py")]
    return "\n".join(re.sub(r'"\s*\n\s*f?"', "", source) for source in sources)


def fixed_parts(quoted: str) -> list[str]:
    """The parts of a quoted message that do not vary: what stands for a name, a number or a value is cut out."""
    pieces = re.split(
        r"…|'[^']*'(?!\w)|<[^>]*>|\(.*?\)|\b(?:\d|N\b)[\d.,]*|\w*/[\w/]+|\b[A-Z]\w+\.\w+|[:;]", quoted
    )
    return [piece.strip(" .,") for piece in pieces if len(piece.split()) >= 3]


def log_messages_of(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    if page == "chaos.md":
        rows = text[text.index("Words in quotes are log messages") :].splitlines()
        return [quoted for row in rows if row.startswith("| ") for quoted in re.findall(r'"([^"]+)"', row)]
    rows = text[text.index("`NotMigrated: ") : text.index("## What your code raises")].splitlines()
    return [
        quoted
        for row in rows
        if row.startswith("|")
        for quoted in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]


@pytest.mark.parametrize("page", ["errors.md", "chaos.md"])
def test_quoted_log_messages_are_those_that_the_code_writes(page: str) -> None:
    messages, source = log_messages_of(page), written()
    assert len(messages) >= 10
    wrong = [(message, part) for message in messages for part in fixed_parts(message) if part not in source]
    assert not wrong
