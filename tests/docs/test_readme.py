"""The README: its statements are true, and all pages import the client in the same way."""

import re
from pathlib import Path

import pytest
from django.template.backends.django import get_installed_libraries
from PIL import Image

from holdfast import Topic

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def test_every_link_leads_somewhere() -> None:
    links = LINK.findall(README)
    assert "docs/tutorial.md" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_topic_is_one() -> None:
    [code] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    room = names["Room"]
    assert isinstance(room, type)
    assert issubclass(room, Topic)
    assert set(room.declared.actions) == {"post"}


def test_it_names_every_transport_that_the_browser_client_has() -> None:
    [row] = re.findall(r"^\| transport to the browser \| ([^|]+) \|", README, re.MULTILINE)
    words = {"websocket": "WebSocket", "sse": "server-sent events", "polling": "long polling"}
    option = (ROOT / "src/holdfast/static/holdfast/holdfast.d.ts").read_text()
    [names] = re.findall(r"type TransportName = ([^;]+);", option)
    assert row.strip() == ", ".join(words[name] for name in re.findall(r'"(\w+)"', names))


def first_figure(section: str, row: str) -> str:
    """The first figure in a row of a table of the benchmarks, without the spread of the runs."""
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    part = text.partition(f"<!-- bench:{section} -->")[2].partition(f"<!-- /bench:{section} -->")[0]
    return re.findall(rf"^\| {row} \| ([\d.,]+)", part, re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("section", "row"),
    [
        ("fanout", "Holdfast"),
        ("fanout", "Holdfast, log in SQLite"),
        ("fanout", "Channels, pub/sub layer, Uvicorn"),
        ("arrivals", r"Holdfast \| with a session"),
        ("arrivals", r"Channels, pub/sub layer, Uvicorn \| with a session"),
        ("memory", r"Holdfast \| 10,000 \| with a session"),
        ("memory", r"Channels, pub/sub layer, Uvicorn \| 2,000 \| with a session"),
    ],
)
def test_its_figures_are_those_that_were_last_measured(section: str, row: str) -> None:
    figure = first_figure(section, row)
    compared = README.partition("## Why not plain Channels")[2].partition("\n## ")[0]
    assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", compared), f"{row}: {figure}"


def test_the_picture_moves_and_is_small() -> None:
    picture = ROOT / "docs" / "outage.gif"
    assert picture.stat().st_size < 600_000
    with Image.open(picture) as film:
        assert getattr(film, "n_frames", 1) > 10


PAGES = [
    ROOT / "README.md",
    ROOT / "client" / "README.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "example").rglob("*.html"),
    *(ROOT / "example").rglob("*.js"),
]


def test_template_tags_are_loaded_by_names_that_exist() -> None:
    loaded = {
        (page.relative_to(ROOT), library)
        for page in PAGES
        for libraries in re.findall(r"\{% load ([\w ]+) %\}", page.read_text())
        for library in libraries.split()
    }
    assert len(loaded) > 4
    of_harbor = {path.stem for path in (ROOT / "example").glob("*/templatetags/*.py")}
    assert {library for _, library in loaded} <= {*get_installed_libraries(), *of_harbor}, loaded


def test_the_client_is_imported_in_one_way() -> None:
    imports = {
        (page.relative_to(ROOT), source)
        for page in PAGES
        for source in re.findall(
            r"""import \{[^}]*\bconnect\b[^}]*\} from ["']([^"']+)["']""", page.read_text()
        )
    }
    assert len(imports) > 4
    # The page of the client also shows how to do without an import map, and tabs that share have an entry of their own.
    without_map = (Path("docs/reference/client.md"), "{% static ")
    sources = {source for page, source in imports if (page, source) != without_map}
    assert sources == {"holdfast", "holdfast/tabs", "holdfast-client/tabs"}, imports
