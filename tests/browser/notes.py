"""Notes that people add: the site behind the tests of front ends, each of which brings its own templates and addresses."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import override_settings
from playwright.sync_api import Page

from holdfast import Event, Html, Keep, Topic
from holdfast.topics.registry import registry


class NoteAdded(Event):
    id: int
    name: str


class Notes(Topic):
    route = "notes"
    events = [Html, NoteAdded]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True


def add(name: str) -> Group:
    """Add a note, with its HTML and its event."""
    with transaction.atomic():
        note = Group.objects.create(name=name)
        Notes().publish_html("note.html", {"note": note}, target="notes", swap="append")
        Notes().publish(NoteAdded(note.pk, name))
    return note


def shown() -> dict[str, Any]:
    """The context of a page: the topic, its notes, and the position of both."""
    topic = Notes()
    position, notes = topic.consistent_read(lambda: list(Group.objects.order_by("pk")))
    return {"topic": topic, "position": position, "notes": notes}


@contextmanager
def served(urls: str, templates: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve the addresses of a module with these templates."""
    # Playwright's synchronous interface keeps an event loop on this thread, where Django forbids the ORM otherwise.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [("django.template.loaders.locmem.Loader", templates)],
            "context_processors": ["django.template.context_processors.request"],
        },
    }
    with registry.override([Notes]), override_settings(ROOT_URLCONF=urls, TEMPLATES=[engine]):
        yield


class Visitor:
    """A page with its console, its sockets, and how often it loaded a document."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.said: list[str] = []
        self.sockets: list[Any] = []
        self.documents = 0
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("websocket", self._opened)
        page.on("domcontentloaded", lambda _: self._loaded())
        page.goto(url)

    def _loaded(self) -> None:
        self.documents += 1

    def _opened(self, socket: Any) -> None:
        self.sockets.append(socket)
