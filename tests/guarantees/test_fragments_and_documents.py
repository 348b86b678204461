"""G2 for what is built on events: fragments of HTML, and shared documents. A rollback leaves neither an event nor a change."""

from collections.abc import Iterator
from typing import Any

import pycrdt
import pytest
from django.db import transaction
from django.test import override_settings

from holdfast import Html, Keep, Topic
from holdfast.pad import SharedDocument
from holdfast.testing import CallError, LiveClient
from holdfast.topics.registry import registry
from tests.pad.documents import Editor, encoded

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [("django.template.loaders.locmem.Loader", {"row.html": "<li>{{ body }}</li>"})]
        },
    }
]


class Board(Topic):
    route = "boards/<slug:board>"
    events = [Html]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True


class Pad(SharedDocument):
    route = "pads/<slug:pad>"

    def may_join(self, user: Any) -> bool:
        return True


BOARD, PLANS = Board(board="news"), Pad(pad="plans")


@pytest.fixture
def client(database: str) -> Iterator[LiveClient]:
    with (
        override_settings(HOLDFAST={"DATABASE": database, "EVENT_BYTES": 2_000}, TEMPLATES=TEMPLATES),
        registry.override([Board, Pad]),
        LiveClient() as client,
    ):
        client.join(BOARD)
        client.join(PLANS)
        yield client


def show(body: str) -> None:
    BOARD.publish_html("row.html", {"body": body}, target="rows", swap="append")


def write(text: str) -> None:
    with PLANS.edit() as doc:
        doc.get("text", type=pycrdt.Text).insert(0, text)


def document_of(client: LiveClient) -> str:
    """What an editor has who took every event, in their order."""
    editor = Editor()
    for event in client.received:
        if event.name == "document.updated":
            editor.take(event.payload["data"])
    return str(editor.text)


def test_a_fragment_of_a_transaction_that_rolls_back_reaches_no_page(
    client: LiveClient, database: str
) -> None:
    with transaction.atomic(using=database):
        show("gone")
        transaction.set_rollback(True, using=database)
    with transaction.atomic(using=database):
        with transaction.atomic(using=database):
            show("gone with a savepoint")
            transaction.set_rollback(True, using=database)
        show("stays")
    assert client.expect(Html).html == "<li>stays</li>"
    client.expect_nothing()


def test_a_document_and_its_events_are_rolled_back_together(client: LiveClient, database: str) -> None:
    with transaction.atomic(using=database):
        write("gone. ")
        transaction.set_rollback(True, using=database)
    with transaction.atomic(using=database):
        with transaction.atomic(using=database):
            write("gone with a savepoint. ")
            transaction.set_rollback(True, using=database)
        write("stays. ")
    client.expect("document.updated")
    client.expect_nothing()
    assert document_of(client) == PLANS.text() == "stays. "


def test_an_update_that_cannot_be_published_does_not_change_the_document(client: LiveClient) -> None:
    editor = Editor()
    client.call(PLANS, "update", data=encoded(editor.type("short. ")))
    client.expect("document.updated")
    with pytest.raises(CallError):
        client.call(PLANS, "update", data=encoded(editor.type("long " * 1000)))
    client.expect_nothing()
    assert document_of(client) == PLANS.text() == "short. "
