"""G2: an event published with ``apublish`` rolls back or commits with the transaction of the thread that waits for it.

Django's async code joins the transaction of a thread that waits in ``async_to_sync``: a view under ``ATOMIC_REQUESTS``, and an
``async def`` task that the immediate backend of ``django.tasks`` runs. A row written there shares the fate of the event.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from holdfast import Event, Keep, Topic
from holdfast import runtime as runtimes
from holdfast.protocol.positions import Position
from holdfast.topics.registry import registry
from tests.log.transactions import Rollback

from .scratch import add_row, rows, scratch_table

pytestmark = pytest.mark.timeout(40)

ROOM = "1"


class Written(Event):
    value: str


class Page(Topic):
    route = "pages/<slug:page>"
    events = [Written]
    keep = Keep()
    alias = "default"

    def may_join(self, user: Any) -> bool:
        return True


async def write(value: str) -> None:
    await sync_to_async(add_row)(Page.alias, value)
    await Page(page=ROOM).apublish(Written(value))


def view(request: HttpRequest, value: str, fate: str) -> HttpResponse:
    async_to_sync(write)(value)
    if fate == "fails":
        raise RuntimeError("the view failed after it had published")
    return HttpResponse("done")


urlpatterns = [path("<str:value>/<str:fate>", view)]


@pytest.fixture
def site(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A project whose requests are transactions; the alias of its database."""
    monkeypatch.setattr(Page, "alias", database)
    monkeypatch.setitem(connections[database].settings_dict, "ATOMIC_REQUESTS", True)
    with (
        override_settings(HOLDFAST={"DATABASE": database}, ROOT_URLCONF=__name__),
        registry.override([Page]),
        scratch_table(database),
    ):
        yield database


def events() -> list[str]:
    log = runtimes.current().log
    head = log.heads([f"pages/{ROOM}"])[f"pages/{ROOM}"]
    start = Position(epoch=head.epoch, offset=head.floor)
    return [entry.payload.decode() for entry in log.read(f"pages/{ROOM}", start, 1000)]


def test_a_view_under_atomic_requests_that_fails_leaves_neither_row_nor_event(site: str) -> None:
    before = events()
    browser = Client(raise_request_exception=False)

    assert browser.get("/a/fails").status_code == 500

    assert rows(site) == []
    assert events() == before


def test_a_view_under_atomic_requests_that_succeeds_leaves_both(site: str) -> None:
    before = events()

    assert Client().get("/a/succeeds").status_code == 200

    assert rows(site) == ["a"]
    assert events() == [*before, '{"value":"a"}']


@pytest.mark.parametrize("commits", [True, False])
def test_an_async_task_run_at_once_shares_the_transaction_of_the_code_that_enqueued_it(
    site: str, commits: bool
) -> None:
    tasks = pytest.importorskip("django.tasks", reason="Django 6.0 brings django.tasks")
    before = events()
    backend = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    with override_settings(TASKS=backend):
        task = tasks.task(write)
        try:
            with transaction.atomic(using=site):
                result = task.enqueue("a")
                assert result.status == tasks.TaskResultStatus.SUCCESSFUL, result.errors
                if not commits:
                    raise Rollback
        except Rollback:
            pass

    assert rows(site) == (["a"] if commits else [])
    assert events() == ([*before, '{"value":"a"}'] if commits else before)
