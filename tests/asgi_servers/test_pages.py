"""The code on the how-to pages is the code that the suite runs."""

import re

import pytest

from .servers import ROOT, SERVERS, Kind

PAGES = ROOT / "docs" / "how-to"
PROJECT = ROOT / "tests" / "asgi_servers" / "project"


def _without_noqa(text: str) -> str:
    return re.sub(r"  # noqa: \w+$", "", text, flags=re.MULTILINE)


def test_the_code_in_the_page_about_consumers_is_the_tested_one() -> None:
    tested = [_without_noqa(path.read_text()) for path in PROJECT.glob("*.py")]
    shown = re.findall(
        r"^```python\n# \S+\n(.*?)^```",
        (PAGES / "channels-consumers.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )

    assert len(shown) == 5
    for block in shown:
        assert any(block in text for text in tested), f"no file of the project contains:\n{block}"


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_the_page_about_servers_starts_each_server_as_the_suite_does(kind: Kind) -> None:
    page = (PAGES / "servers.md").read_text()
    command = " ".join(kind.command(8000, "mysite.asgi:application"))

    if kind.name in ("uvicorn-wsproto", "uvicorn-websockets"):
        assert f"`{' '.join(command.split()[1:3])}`" in page
    else:
        assert f"\n{command}\n" in page
