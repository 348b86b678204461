"""Storage of shared documents on real databases, with several writers at once."""

import pycrdt
import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from holdfast.pad import storage
from holdfast.pad.models import Document, Update
from holdfast.pad.storage import DocumentLimits
from tests.pad.documents import Editor
from tests.services.databases import in_threads

LIMITS = DocumentLimits(document_bytes=100_000, compact_after=7)


@pytest.fixture
def routed(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(storage, "alias", lambda: database)
    return database


def text(update: bytes) -> str:
    return Editor().take(update)


@pytest.mark.slow
def test_writers_at_once_lose_nothing(routed: str) -> None:
    editors = [Editor() for _ in range(4)]

    def write(number: int) -> None:
        for count in range(15):
            update = editors[number].type(f"<{number}.{count}>")
            with transaction.atomic(using=routed):
                storage.store("pads/plans", update, LIMITS)

    def read() -> None:
        seen = ""
        for _ in range(40):
            now = text(storage.state("pads/plans"))
            assert all(part in now for part in seen.split(">") if part), "what was there is gone"
            seen = now

    in_threads([read, *[lambda number=number: write(number) for number in range(4)]])  # type: ignore[misc]
    found = text(storage.state("pads/plans"))
    for number in range(4):
        for count in range(15):
            assert f"<{number}.{count}>" in found
    document = Document.objects.using(routed).get()
    assert document.pending == Update.objects.using(routed).count() == 60 % 7
    assert Document.objects.using(routed).count() == 1


def test_a_compacted_document_keeps_what_its_updates_said(routed: str) -> None:
    editor = Editor()
    for number in range(21):
        storage.store("pads/plans", editor.type(f"{number} "), LIMITS)
        storage.store("pads/plans", editor.delete(0, 1), LIMITS)
    assert text(storage.state("pads/plans")) == str(editor.text)
    known = Editor()
    known.take(storage.state("pads/plans"))
    storage.store("pads/plans", editor.type("news"), LIMITS)
    assert text(storage.state("pads/plans")) == known.take(storage.state("pads/plans", known.doc.get_state()))


HALF_A_PAIR = bytes([0, 1, 3, 1, 3, 4])
"""An update that deletes the ticks 3 to 6 of client 3. In "he😀llo" the first of them is the second half of the emoji."""


def nested_editor() -> Editor:
    """A document of client 3 whose nested types come after an emoji."""
    editor = Editor(client=3)
    editor.type("he😀llo")
    editor.doc["map"] = pycrdt.Map({"t": pycrdt.Text("in")})
    editor.doc["xml"] = pycrdt.XmlFragment([pycrdt.XmlElement("p", {"c": "x"}, [pycrdt.XmlText("hi")])])
    return editor


@pytest.mark.parametrize("compact_after", [1, 2, 100])
def test_an_edit_that_cuts_a_surrogate_pair_does_not_end_the_document(
    routed: str, compact_after: int
) -> None:
    limits = DocumentLimits(document_bytes=100_000, compact_after=compact_after)
    storage.store("pads/plans", nested_editor().doc.get_update(), limits)
    storage.store("pads/plans", HALF_A_PAIR, limits)

    reader = Editor()
    reader.take(storage.state("pads/plans"))
    assert str(reader.doc.get("map", type=pycrdt.Map)["t"]) == "in"
    assert str(reader.doc.get("xml", type=pycrdt.XmlFragment)) == '<p c="x">hi</p>'
    seen = reader.doc.get_state()

    editor = Editor(client=5)
    editor.take(storage.state("pads/plans"))
    storage.store("pads/plans", editor.type("more", at=0), limits)
    assert text(storage.state("pads/plans")) == str(editor.text)
    assert reader.take(storage.state("pads/plans", seen)) == str(editor.text)


def test_a_full_document_refuses_an_edit_that_cuts_a_pair_and_stays_as_it_was(routed: str) -> None:
    editor = nested_editor()
    storage.store("pads/plans", editor.doc.get_update(), LIMITS)
    full = DocumentLimits(document_bytes=len(storage.state("pads/plans")) + 2, compact_after=100)
    with pytest.raises(storage.Full):
        storage.store("pads/plans", HALF_A_PAIR, full)
    assert text(storage.state("pads/plans")) == str(editor.text)


def test_an_update_neither_reads_nor_writes_the_whole_document(routed: str) -> None:
    editor = Editor()
    storage.store("pads/plans", editor.type("first"), LIMITS)
    with CaptureQueriesContext(connections[routed]) as queries:
        storage.store("pads/plans", editor.type("second"), LIMITS)
    asked = [query["sql"] for query in queries if "holdfast_pad" in query["sql"]]
    assert len(asked) == 4
    assert not [sql for sql in asked if '"state"' in sql]
