"""Updates are read before they are stored: incomplete ones, and those that clients could not read, are refused."""

import random
from typing import Any

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.pad.reader import LARGEST, Malformed, UpdateReader
from holdfast.pad.updates import Behind, Contents, read_vector, write_vector
from tests.pad.documents import Editor, block_of, number, text, text_item, updates


def item(
    content: bytes, *, client: int = 5, clock: int = 0, info: int = 4, parent: bytes | None = None
) -> bytes:
    """An update with one item; its parent is the root `text`."""
    place = b"\x01" + text("text") if parent is None else parent
    return b"\x01\x01" + number(client) + number(clock) + bytes([info]) + place + content + b"\x00"


def refused(update: bytes) -> str:
    with pytest.raises(Malformed) as error:
        Contents.read(update)
    return str(error.value)


def test_an_update_says_which_ticks_of_which_client_it_has() -> None:
    editor = Editor(client=7)
    change = Contents.read(editor.type("hello"))
    assert [(block.client, block.start, block.end) for block in change.blocks] == [(7, 0, 5)]
    assert change.after({}) == {7: 5}
    change = Contents.read(editor.type("🙂", at=5))
    assert change.after({7: 5}) == {7: 7}  # Yjs counts UTF-16


def test_an_update_that_refers_to_missing_content_is_behind() -> None:
    editor, other = Editor(client=7), Editor(client=8)
    first, second, third = editor.type("one"), editor.type(" two"), editor.delete(0, 1)
    for late in (second, third):
        with pytest.raises(Behind):
            Contents.read(late).after({})
    assert Contents.read(first).after({}) == {7: 3}
    other.take(first)
    with pytest.raises(Behind):  # it stands beside an item of another editor
        Contents.read(other.type("!")).after({})
    assert Contents.read(other.updates[-1]).after({7: 3}) == {7: 3, 8: 1}


def test_what_is_known_already_changes_nothing() -> None:
    editor = Editor(client=7)
    change = Contents.read(editor.type("one"))
    assert change.after({7: 3}) == {7: 3}
    assert not change.deletes
    assert Contents.read(editor.delete(0, 1)).deletes


def test_every_kind_of_content_is_read() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    updates: list[bytes] = []
    watching = doc.observe(lambda event: updates.append(event.update))
    values = {"a": [1, -1, 2**40, 1.5, True, False, None, "ü", {"b": b"raw"}]}
    doc["map"] = pycrdt.Map(values)
    doc["array"] = pycrdt.Array([1, pycrdt.Text("inside"), b"raw"])
    body = doc.get("body", type=pycrdt.Text)
    body += "plain"
    body.format(0, 3, {"bold": True})
    body.insert_embed(2, {"image": "x.png"})
    doc["xml"] = pycrdt.XmlFragment([pycrdt.XmlElement("p", {"class": "x"}, [pycrdt.XmlText("hi")])])
    del doc["array"][0]
    vector: dict[int, int] = {}
    for update in [*updates, doc.get_update()]:
        vector = Contents.read(update).after(vector)
    assert vector == read_vector(doc.get_state())
    doc.unobserve(watching)


@pytest.mark.parametrize("length", range(40))
def test_half_an_update_is_refused(length: int) -> None:
    editor = Editor(client=7)
    update = editor.type("hello, world, and more of it")
    assert len(update) > 40
    refused(update[:length])


@pytest.mark.parametrize(
    ("update", "why"),
    [
        (b"\x00\x00!", "too many"),
        (b"\xff" * 9, "too l"),
        (number(LARGEST)[:-1] + b"\x7f\x00", "too l"),
        (item(text("x"), info=9), "documents within documents"),
        (item(b"\x01\x01" + text("1"), info=2), "before version 13"),
        (
            item(b"", info=11),
            "unknown content 11",
        ),  # what only other ports of Yjs know: it stops every browser
        (item(b"\x07", info=7), "unknown type 7"),
        (item(text(""), info=4), "empty"),
        (item(b"\x00", info=1), "no length"),
        (item(b"\x01\xff", info=4), "UTF-8"),
        (item(text("{"), info=5), "not JSON"),
        (item(text("NaN"), info=5), "not JSON"),
        (item(text("[" * 50_000), info=5), "nested too deep"),
        (item(b"\x01" + b"\x75\x01" * 5000 + b"\x7e", info=8), "nested too deep"),
        (item(b"\x01\x01", info=8), "unknown type 1"),
        (item(b"\x01\x7d\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", info=8), "too large"),
        (item(number(LARGEST), info=1, clock=LARGEST), "clock is too large"),
        (item(number(2**32), info=1), "clock is too large"),  # pycrdt would begin again at zero
        (updates(block_of(5, 0, text_item("a")), block_of(5, 1, text_item("b"))), "two blocks"),
        (item(text("x"), info=0x84, parent=number(5) + number(0)), "refers to itself"),
    ],
)
def test_what_a_client_could_not_read_is_refused(update: bytes, why: str) -> None:
    assert why in refused(update)


def test_a_length_reserves_no_memory() -> None:
    for huge in (
        item(number(LARGEST) + b"\x7e", info=8),
        item(number(LARGEST) + b"x", info=4),
        number(LARGEST),
    ):
        refused(huge)


def test_whatever_is_accepted_pycrdt_reads_as_well() -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    editor = Editor(client=7)
    editor.type("hello"), editor.type("🙂", at=2), editor.delete(1, 3)
    editor.doc["map"] = pycrdt.Map({"a": [1, 2.5, "x"]})
    accepted = 0
    for _ in range(20_000):
        update = bytearray(dice.choice(editor.updates))
        for _ in range(dice.randint(1, 3)):
            update[dice.randrange(len(update))] = dice.randrange(256)
        try:
            Contents.read(bytes(update))
        except Malformed:
            continue
        accepted += 1
        try:
            pycrdt.Doc().apply_update(bytes(update))  # type: ignore[var-annotated]
        except ValueError as error:
            raise AssertionError(f"seed {seed}: {bytes(update)!r} is accepted") from error
    assert accepted > 100


@given(st.dictionaries(st.integers(0, LARGEST), st.integers(0, LARGEST), max_size=20))
def test_a_state_vector_is_read_as_it_was_written(vector: dict[int, int]) -> None:
    assert read_vector(write_vector(vector)) == vector


def test_a_state_vector_is_that_of_pycrdt() -> None:
    editor = Editor(client=300)
    editor.type("hello")
    assert read_vector(editor.doc.get_state()) == {300: 5}
    assert write_vector({300: 5}) == editor.doc.get_state()
    assert read_vector(b"") == {}
    with pytest.raises(Malformed):
        UpdateReader(b"").byte()
