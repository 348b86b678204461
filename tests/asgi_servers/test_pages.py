"""The code on the how-to pages is the code that the suite runs."""

import ast
import builtins
import re

import pytest

from .servers import ROOT, SERVERS, Kind

PAGES = ROOT / "docs" / "how-to"
PROJECT = ROOT / "tests" / "asgi_servers" / "project"


def _as_on_the_page(text: str) -> str:
    """The code of a file, with the names that its modules have in a project of the reader's."""
    text = re.sub(r"  # noqa: \w+$", "", text, flags=re.MULTILINE)
    text = text.replace("tests.asgi_servers.project.settings", "mysite.settings")
    return text.replace("from .routing import", "from chat.routing import")


def test_the_code_in_the_page_about_consumers_is_the_tested_one() -> None:
    tested = [_as_on_the_page(path.read_text()) for path in PROJECT.glob("*.py")]
    shown = re.findall(
        r"^```python\n# (?!mysite/settings)\S+\n(.*?)^```",
        (PAGES / "channels-consumers.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )

    assert len(shown) == 5
    for block in shown:
        _finds_its_names(block)
        assert any(block in text for text in tested), f"no file of the project contains:\n{block}"


def _finds_its_names(block: str) -> None:
    """Return whether each name that the block uses is imported or defined in it."""
    tree = ast.parse(block)
    known = set(dir(builtins))
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            known |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
    assert not used - known, block


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_the_page_about_servers_starts_each_server_as_the_suite_does(kind: Kind) -> None:
    page = (PAGES / "servers.md").read_text()
    command = " ".join(kind.command(8000, "mysite.asgi:application"))

    if kind.name in ("uvicorn-wsproto", "uvicorn-websockets"):
        assert f"`{' '.join(command.split()[1:3])}`" in page
    else:
        assert f"\n{command}\n" in page
