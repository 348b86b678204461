"""TypeScript: the compiler accepts code that fits the topics, and refuses other code."""

import json
import subprocess
from pathlib import Path

import pytest

from holdfast import Event, Topic, action
from holdfast.schema import typescript
from holdfast.schema.contract import Contract
from holdfast.schema.json_schema import description_of

from .yard import TOPICS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPILER = ROOT / "client/node_modules/typescript/bin/tsc"


def generated(*topics: type[Topic], strict: bool = False) -> str:
    return typescript.text(Contract.of(topics), module="holdfast", strict=strict)


def compiled(folder: Path, text: str, topics: str) -> str:
    """Return the compiler's messages about a module, with these types of topics beside it."""
    (folder / "usage.ts").write_text(text)
    (folder / "topics.ts").write_text(topics)  # not .d.ts, which the compiler would skip
    options = {
        "extends": str(ROOT / "client/tsconfig.json"),
        "compilerOptions": {
            "noUnusedLocals": False,
            "skipLibCheck": True,  # those of the browser, which take half of the time
            "paths": {"holdfast": [str(ROOT / "src/holdfast/static/holdfast/holdfast.d.ts")]},
        },
        "include": ["."],
    }
    (folder / "tsconfig.json").write_text(json.dumps(options))
    command = ["node", str(COMPILER), "--project", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("usage", ["usage", "usage_loose", "usage_strict"])
def test_a_page_is_checked_against_the_topics(usage: str, tmp_path: Path) -> None:
    topics = generated(*TOPICS, strict=usage == "usage_strict")
    assert compiled(tmp_path, (HERE / f"{usage}.ts").read_text(), topics) == ""


def test_the_text_does_not_depend_on_the_order_of_the_topics() -> None:
    assert generated(*TOPICS) == generated(*TOPICS[::-1])


class Odd(Event, name="odd-one"):
    """Ends a comment: */ and goes on."""

    value: int


class Odds(Topic):
    route = "odds/`${x}/<str:odd>"
    events = [Odd]

    @action(name="do:it")
    async def do_it(self, caller: object, number: int = 1) -> None: ...


def test_names_and_comments_are_written_so_that_they_stay_text() -> None:
    text = generated(Odds)
    assert r"name: `odds/\`\${x}/${string}`;" in text
    assert '"odd-one": Odd;' in text
    assert '"do:it"(payload?: {' in text
    assert r"/** Ends a comment: *\/ and goes on. */" in text


def test_classes_of_one_name_are_told_apart_by_their_modules() -> None:
    here = type("Yard", (Topic,), {"route": "yards2", "__module__": "harbor.live"})
    there = type("Yard", (Topic,), {"route": "yards3", "__module__": "shipyard.live"})
    text = generated(here, there)
    assert "export interface HarborYard {" in text
    assert "export interface ShipyardYard {" in text
    assert "export interface Yard {" not in text


class Sold(Event, version=2):
    id: int


class Market(Topic):
    route = "market"
    events = [Sold]


def test_the_types_say_which_versions_of_events_they_describe() -> None:
    assert generated(Market).splitlines()[1].endswith(": ?versions=sold:2")
    assert "versions=" not in generated(Odds)


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("One yard.\n\nMore about it.", "One yard."),
        ("Moves ``data`` to :class:`~yard.boats.Yard`.", "Moves `data` to `Yard`."),
        ("What :meth:`Topic.publish` sends::\n\n    Yard().publish(…)", "What `Topic.publish` sends:"),
        ("Written as `Markdown` is, at 12:30.", "Written as `Markdown` is, at 12:30."),
    ],
)
def test_a_docstring_is_described_without_the_marks_of_sphinx(docstring: str, text: str) -> None:
    assert description_of(type("Yard", (), {"__doc__": docstring})) == text
