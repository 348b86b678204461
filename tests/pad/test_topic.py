"""Editors of a shared document, as the server sees them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pycrdt
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from holdfast.extras import Want
from holdfast.pad import storage
from holdfast.pad.models import Document, Part, Update
from holdfast.testing import CallError, Live, LiveClient
from holdfast.topics.registry import registry
from tests.pad.documents import Editor, Pad, beside, block, block_of, child_of, encoded, text_item, updates

PLANS = Pad(pad="plans")
pytestmark = pytest.mark.django_db

Join = Callable[[str], LiveClient]


@pytest.fixture
def join() -> Iterator[Join]:
    with registry.override([Pad]), Live(), ExitStack() as stack:

        def joined(name: str) -> LiveClient:
            user, _ = User.objects.get_or_create(username=name)
            client = stack.enter_context(LiveClient(user))
            client.join(PLANS)
            return client

        yield joined


def refused(client: LiveClient, action: str, /, **arguments: Any) -> str:
    with pytest.raises(CallError) as error:
        client.call(PLANS, action, **arguments)
    assert error.value.code == "refused"
    return str(error.value.reason)


def test_an_update_reaches_all_editors_and_the_database(join: Join) -> None:
    ada, grace = join("ada"), join("grace")
    editor, other = Editor(), Editor()
    ada.call(PLANS, "update", data=encoded(editor.type("hello")))
    for client in (ada, grace):
        assert other.take(client.expect("document.updated").data) == "hello"
    assert PLANS.text() == "hello"
    grace.leave(PLANS)
    assert Editor().take(grace.join(PLANS).snapshot["state"]) == "hello"


def test_a_page_gets_the_document_and_the_position_from_which_a_client_goes_on(join: Join) -> None:
    ada = join("ada")
    editor = Editor()
    ada.call(PLANS, "update", data=encoded(editor.type("hello")))
    document = PLANS.document()
    assert document.topic == PLANS.name
    assert document.text() == "hello"
    ada.call(PLANS, "update", data=encoded(editor.type(" again")))
    ada.expect("document.updated")
    ada.leave(PLANS)
    assert ada.join(PLANS, since=document.position).recovered
    later = Editor()
    later.take(document.state)
    assert later.take(ada.expect("document.updated").data) == "hello again"


def test_a_document_that_was_never_written_in_has_a_position_as_well(join: Join) -> None:
    document = PLANS.document()
    assert document.text() == ""
    ada = join("ada")
    ada.leave(PLANS)
    assert ada.join(PLANS, since=document.position).recovered


def test_an_update_that_comes_twice_is_stored_and_published_once(join: Join) -> None:
    ada = join("ada")
    update = encoded(Editor().type("hello"))
    for _ in range(2):
        ada.call(PLANS, "update", data=update)
    ada.expect("document.updated")
    ada.expect_nothing()
    assert Update.objects.count() == 1


@pytest.mark.parametrize("data", ["", "!", "AAA", "AAAA", encoded(b"\xff" * 30)])
def test_what_is_no_update_is_refused_and_published_to_no_client(join: Join, data: str) -> None:
    ada = join("ada")
    assert refused(ada, "update", data=data) == "malformed"
    ada.expect_nothing()
    assert not Document.objects.exists()


def test_an_update_that_the_document_cannot_take_is_refused_and_the_document_goes_on(join: Join) -> None:
    ada = join("ada")
    ada.call(PLANS, "update", data=encoded(block(5, 0, text_item("hello"))))
    inside_a_text = block(6, 0, child_of(5, 0, "x"))
    beside_itself = block(6, 0, text_item("a"), child_of(6, 0, "x"))
    circle = updates(block_of(7, 0, beside(8, 0, "x")), block_of(8, 0, beside(7, 0, "y")))
    for hostile in (inside_a_text, beside_itself, circle):
        assert refused(ada, "update", data=encoded(hostile)) == "malformed"
    ada.expect("document.updated")
    ada.expect_nothing()
    assert PLANS.text() == "hello"
    assert Editor().take(join("grace").call(PLANS, "state")) == "hello"


def test_nested_types_are_changed_by_later_updates(join: Join) -> None:
    ada, editor = join("ada"), Editor()
    editor.doc["map"] = pycrdt.Map({"inner": pycrdt.Map({})})
    editor.doc["map"]["inner"]["key"] = "value"
    other = Editor()
    for update in editor.updates:
        other.take(update)
    other.doc.get("map", type=pycrdt.Map)["inner"]["more"] = pycrdt.Array([1])
    for update in [*editor.updates, other.updates[-1], other.doc.get_update()]:
        ada.call(PLANS, "update", data=encoded(update))
    again = Pad(pad="copy")
    ada.join(again)
    ada.call(again, "update", data=encoded(other.doc.get_update()))  # two clients, which refer to each other
    found: pycrdt.Doc[Any] = pycrdt.Doc()
    found.apply_update(storage.state(again.name))
    assert found.get("map", type=pycrdt.Map).to_py() == {"inner": {"key": "value", "more": [1.0]}}


def test_an_incomplete_update_is_refused_and_accepted_with_what_it_lacks(join: Join) -> None:
    ada, editor = join("ada"), Editor()
    first, second = editor.type("one"), editor.type(" two")
    assert refused(ada, "update", data=encoded(second)) == "behind"
    ada.call(PLANS, "update", data=encoded(pycrdt.merge_updates(first, second)))
    assert PLANS.text() == "one two"


def test_a_reader_sees_and_cannot_change(join: Join) -> None:
    ada, reader = join("ada"), join("reader")
    ada.call(PLANS, "update", data=encoded(Editor().type("hello")))
    reader.expect("document.updated")
    assert Editor().take(reader.call(PLANS, "state")) == "hello"
    reader.call(PLANS, "aware", client=1, state={})
    assert refused(reader, "update", data=encoded(Editor().type("no"))) == "read_only"
    assert refused(reader, "part", upload="a", number=0, data="AAAA") == "read_only"
    assert PLANS.text() == "hello"


def test_a_client_gets_what_it_lacks(join: Join) -> None:
    ada, editor = join("ada"), Editor(client=7)
    assert Editor().take(ada.call(PLANS, "state")) == ""
    ada.call(PLANS, "update", data=encoded(editor.type("one")))
    known = encoded(editor.doc.get_state())
    ada.call(PLANS, "update", data=encoded(editor.type(" two")))
    lacking = ada.call(PLANS, "state", vector=known)
    assert len(lacking) < len(ada.call(PLANS, "state"))
    assert refused(ada, "state", vector="AQ==") == "malformed"


def test_the_document_is_compacted_every_so_many_updates(join: Join) -> None:
    ada, editor = join("ada"), Editor()
    for number in range(25):
        ada.call(PLANS, "update", data=encoded(editor.type(f"{number} ")))
    document = Document.objects.get()
    assert (document.pending, Update.objects.count()) == (5, 5)
    assert document.vector == editor.doc.get_state()
    assert document.size == len(document.state) + sum(len(each.data) for each in Update.objects.all())
    assert PLANS.text() == str(editor.text)


def test_a_full_document_takes_deletions_and_then_text_again(join: Join) -> None:
    ada, editor = join("ada"), Editor()
    ada.call(PLANS, "update", data=encoded(editor.type("x" * 19_900)))
    long = editor.type("y" * 500)
    assert refused(ada, "update", data=encoded(long)) == "document_full"
    ada.call(PLANS, "update", data=encoded(pycrdt.merge_updates(long, editor.delete(0, 10_000))))
    ada.call(PLANS, "update", data=encoded(editor.type("z" * 5_000)))
    assert PLANS.text() == str(editor.text)
    assert Document.objects.get().size <= Pad.document_bytes


def test_a_long_update_comes_in_parts(join: Join) -> None:
    ada, editor = join("ada"), Editor()
    data = encoded(editor.type("x" * 10_000))
    parts = [data[at : at + 4_000] for at in range(0, len(data), 4_000)]
    for number, part in enumerate(parts[:-1]):
        ada.call(PLANS, "part", upload="one", number=number, data=part)
    ada.call(PLANS, "part", upload="one", number=0, data=parts[0])  # again, because an answer was lost
    ada.call(PLANS, "update", data=parts[-1], upload="one")
    assert PLANS.text() == str(editor.text)
    assert not Part.objects.exists()


def test_unfinished_parts_are_bounded_and_forgotten(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = join("ada")
    for number in range(9):
        ada.call(PLANS, "part", upload="one", number=number, data="A" * 4_000)
    ada.call(PLANS, "part", upload="one", number=8, data="A" * 4_000)  # again: it counts once
    assert refused(ada, "part", upload="two", number=0, data="A" * 4_000) == "document_full"
    Part.objects.update(sent_at=Part.objects.earliest("sent_at").sent_at - storage.PART_LIFE)
    ada.call(PLANS, "part", upload="two", number=0, data="A" * 4_000)
    assert Part.objects.count() == 1


def test_an_upload_that_begins_again_takes_no_room_twice(join: Join) -> None:
    ada, editor = join("ada"), Editor()
    data = encoded(editor.type("x" * 18_000))
    parts = [data[at : at + 4_000] for at in range(0, len(data), 4_000)]
    uploads = ["a", "b", "c", "d"]
    for upload, earlier in zip(uploads, [None, *uploads], strict=False):  # the connection broke three times
        for number, part in enumerate(parts[:-1]):
            ada.call(PLANS, "part", upload=upload, number=number, data=part, replaces=earlier)
    ada.call(PLANS, "update", data=parts[-1], upload="d")
    assert PLANS.text() == str(editor.text)
    assert not Part.objects.exists()


def test_a_client_replaces_uploads_of_its_own_only(join: Join) -> None:
    ada, grace = join("ada"), join("grace")
    ada.call(PLANS, "part", upload="one", number=0, data="AAAA")
    grace.call(PLANS, "part", upload="two", number=0, data="AAAA", replaces="one")
    assert Part.objects.count() == 2


def test_empty_parts_are_bounded_too(join: Join) -> None:
    limits = storage.DocumentLimits(document_bytes=500, compact_after=10)
    for number in range(11):
        storage.store_part("pads/plans", "x one", number, "", limits)
    with pytest.raises(storage.Full):
        storage.store_part("pads/plans", "x one", 11, "", limits)


def test_a_client_cannot_take_the_parts_of_another_one(join: Join) -> None:
    ada, grace, editor = join("ada"), join("grace"), Editor()
    data = encoded(editor.type("hello"))
    ada.call(PLANS, "part", upload="one", number=0, data=data[:8])
    assert refused(grace, "update", data=data[8:], upload="one") == "malformed"
    ada.call(PLANS, "update", data=data[8:], upload="one")
    assert PLANS.text() == "hello"


def test_cursors_pass_by_with_the_name_that_the_server_knows(join: Join) -> None:
    ada, grace = join("ada"), join("grace")
    grace.call(PLANS, "aware", client=7, state={"cursor": 3}, ask=True)
    moved = ada.expect("editor.moved")
    assert (moved.client, moved.user, moved.state, moved.ask) == (7, {"name": "grace"}, {"cursor": 3}, True)
    assert refused(grace, "aware", client=7, state={"x": "x" * 2_000}) == "awareness_too_large"


def test_python_edits_the_document_too(join: Join) -> None:
    ada, editor = join("ada"), Editor()
    ada.call(PLANS, "update", data=encoded(editor.type("world")))
    with PLANS.edit() as doc:
        doc.get("text", type=pycrdt.Text).insert(0, "hello, ")
        doc.get("text", type=pycrdt.Text).insert(12, "!")
    ada.expect("document.updated")
    assert editor.take(ada.expect("document.updated").data) == PLANS.text() == "hello, world!"
    with PLANS.edit():
        pass
    ada.expect_nothing()


def test_an_edit_that_rolls_back_leaves_nothing(join: Join) -> None:
    ada = join("ada")
    with suppress(RuntimeError), PLANS.edit() as doc:
        doc.get("text", type=pycrdt.Text).insert(0, "ghost")
        raise RuntimeError
    with suppress(RuntimeError), transaction.atomic():
        with PLANS.edit() as doc:
            doc.get("text", type=pycrdt.Text).insert(0, "ghost")
        raise RuntimeError
    ada.expect_nothing()
    assert PLANS.text() == ""


def test_a_document_that_does_not_exist_is_empty(join: Join) -> None:
    assert Pad(pad="nowhere").text() == ""
    assert not Document.objects.exists()


def test_without_pycrdt_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.extras.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'holdfast\[pad\]'"):
        Want(extra="pad", because='"holdfast.pad" is in INSTALLED_APPS').require()
