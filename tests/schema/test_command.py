"""manage.py holdfast schema: print, write, compare."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from holdfast.topics.registry import registry

from .yard import TOPICS, Tide


@pytest.fixture(autouse=True)
def _topics() -> Iterator[None]:
    with registry.override(TOPICS):
        yield


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("holdfast", "schema", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_it_prints_asyncapi_unless_another_format_is_asked_for() -> None:
    assert '"asyncapi": "3.0.0"' in run("--title", "Yard", "--api-version", "2.1")
    assert '"version": "2.1"' in run("--api-version", "2.1")
    assert "export interface Yard {" in run("--format", "typescript")


def test_the_name_of_the_file_says_the_format(tmp_path: Path) -> None:
    types, document = str(tmp_path / "topics.d.ts"), str(tmp_path / "topics.json")
    assert run("--output", types) == f"Wrote {types}.\n"
    assert run("--output", document) == f"Wrote {document}.\n"
    assert Path(types).read_text() == run("--format", "typescript")
    assert Path(document).read_text() == run()
    assert run("--check", types) == f"{types} is current.\n"
    assert run("--check", document) == f"{document} is current.\n"


def test_the_check_fails_when_a_topic_has_changed_and_says_where(tmp_path: Path) -> None:
    types = str(tmp_path / "topics.d.ts")
    run("--output", types)
    with registry.override([Tide]), pytest.raises(CommandError, match="does not fit the topics") as raised:
        run("--check", types)
    assert "--output" in str(raised.value)
    assert "-export interface Yard {" in str(raised.value) or "-export interface Slip {" in str(raised.value)


def test_the_check_of_a_file_that_is_not_there_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be read.*Write it with --output"):
        run("--check", str(tmp_path / "topics.d.ts"))


def test_a_file_is_either_written_or_compared(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="one of the two"):
        run("--check", "a", "--output", "b")
