"""Turbo 8: visits that replace the body, refreshes that morph it, and streams that a topic brings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.test import override_settings
from django.urls import path
from playwright.sync_api import Browser, Page, expect

from holdfast import Event, Html, Keep, Topic
from holdfast.testing.live_server import LiveSite
from holdfast.topics.registry import registry

TURBO = Path(__file__).resolve().parents[2] / "client/node_modules/@hotwired/turbo/dist/turbo.es2017-umd.js"

HEAD = """<!doctype html><html><head><title>{{ request.path }}</title><link rel="icon" href="data:,">{% load holdfast %}
  <meta name="turbo-refresh-method" content="morph"><meta name="turbo-refresh-scroll" content="preserve">
  <script src="/turbo.js" defer></script>"""
LINKS = """<nav><a href="/one">one</a> <a href="/two">two</a> <a href="/three">three</a> <a href="/four">four</a></nav>"""
FORM = (
    """<form method="post">{% csrf_token %}<input name="name" aria-label="Note"><button>Add</button></form>"""
)
SCRIPT = """<script type="module">
  import { connect } from "holdfast";

  let page = new AbortController();
  const end = () => page.abort();
  const begin = () => {
    page.abort();
    page = new AbortController();
    const list = document.getElementById("lines");
    if (!list) return;
    const live = connect();
    globalThis.lives = (globalThis.lives ?? new Set()).add(live);
    const notes = live.lease("notes", { signal: page.signal });
    notes.on("note.added", ({ name }) => {
      list.append(Object.assign(document.createElement("li"), { textContent: name }));
      globalThis.handled = (globalThis.handled ?? 0) + 1;
    });
    notes.ready.then(() => { document.body.dataset.topic = "joined"; });
  };
  document.addEventListener("turbo:load", begin);
  document.addEventListener("turbo:before-render", end);
</script>"""
NO_CACHE = '<meta name="turbo-cache-control" content="no-cache">'
"""A copy of the page would have a newer list than its cursor."""
TEMPLATES = {
    "note.html": """<li id="note-{{ note.pk }}">{{ note.name }} <input aria-label="Draft {{ note.pk }}"></li>""",
    "notes.html": '<ul id="notes">{% for note in notes %}{% include "note.html" %}{% endfor %}</ul>',
    "stream.html": """<turbo-stream action="append" target="log"><template><p>{{ text }}</p></template></turbo-stream>""",
    "refresh.html": """<turbo-stream action="refresh"></turbo-stream>""",
    "elements.html": HEAD
    + "{% live_script html=True %}</head><body>"
    + LINKS
    + FORM
    + '{% live_topic topic position id="live" %}{% include "notes.html" %}{% endlive_topic %}'
    + '<p id="seen">{{ notes|length }}</p><div id="log"></div><div id="streams"></div></body></html>',
    "module.html": HEAD
    + NO_CACHE
    + "{% live_script %}"
    + SCRIPT
    + "</head><body>"
    + LINKS
    + "{% live_cursor topic position %}"
    + '<ul id="lines">{% for note in notes %}<li>{{ note.name }}</li>{% endfor %}</ul></body></html>',
    "plain.html": HEAD + "</head><body>" + LINKS + "</body></html>",
}


class NoteAdded(Event):
    id: int
    name: str


class Notes(Topic):
    route = "notes"
    events = [Html, NoteAdded]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True


def show(request: HttpRequest, template: str) -> HttpResponse:
    if request.method == "POST":
        add(request.POST["name"])
        return HttpResponseRedirect(request.path)
    topic = Notes()
    position, notes = topic.consistent_read(lambda: list(Group.objects.order_by("pk")))
    return render(request, template, {"topic": topic, "position": position, "notes": notes})


def add(name: str) -> Group:
    with transaction.atomic():
        note = Group.objects.create(name=name)
        Notes().publish_html("note.html", {"note": note}, target="notes", swap="append")
        Notes().publish(NoteAdded(note.pk, name))
    return note


urlpatterns = [
    path("", show, {"template": "plain.html"}),
    path("one", show, {"template": "elements.html"}),
    path("two", show, {"template": "elements.html"}),
    path("three", show, {"template": "module.html"}),
    path("four", show, {"template": "module.html"}),
    path("turbo.js", lambda request: HttpResponse(TURBO.read_bytes(), content_type="text/javascript")),
]


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Playwright's synchronous interface keeps an event loop on this thread, where Django forbids the ORM otherwise.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [("django.template.loaders.locmem.Loader", TEMPLATES)],
            "context_processors": ["django.template.context_processors.request"],
        },
    }
    with registry.override([Notes]), override_settings(ROOT_URLCONF=__name__, TEMPLATES=[engine]):
        yield


class Visitor:
    """A page, its console, its sockets and what it loads as a document."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.said: list[str] = []
        self.sockets: list[Any] = []
        self.documents = 0
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("websocket", lambda socket: self.sockets.append(socket))
        page.on("domcontentloaded", lambda _: self._loaded())
        page.goto(url)

    def _loaded(self) -> None:
        self.documents += 1

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name).click()
        expect(self.page).to_have_title(f"/{name}")

    def element_is_live(self) -> None:
        expect(self.page.locator("live-topic")).to_have_attribute("status", "joined")

    def module_is_live(self) -> None:
        expect(self.page.locator("body")).to_have_attribute("data-topic", "joined")

    def has(self, *names: str, within: str = "#notes") -> None:
        expect(self.page.locator(f"{within} li")).to_have_text(list(names))


@pytest.fixture
def visitor(live_site: LiveSite, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), f"{live_site.url}/{getattr(request, 'param', 'one')}")
        yield visitor
        assert visitor.said == []
        assert visitor.documents == 1


def test_visits_keep_one_connection_and_each_fragment_is_there_once(visitor: Visitor) -> None:
    visitor.element_is_live()
    for number, name in enumerate(["two", "one", "two", "one"]):
        visitor.follow(name)
        visitor.element_is_live()
        add(f"note {number}")
        visitor.has(*(f"note {each}" for each in range(number + 1)))
    assert len(visitor.sockets) == 1


def test_a_page_from_turbo_s_cache_goes_on_from_its_own_position(visitor: Visitor) -> None:
    visitor.element_is_live()
    add("first")
    visitor.has("first")
    visitor.follow("two")
    add("while away")
    visitor.page.go_back()
    expect(visitor.page).to_have_title("/one")
    visitor.has("first", "while away")
    visitor.element_is_live()
    add("afterwards")
    visitor.has("first", "while away", "afterwards")
    assert len(visitor.sockets) == 1


def test_a_refresh_that_morphs_keeps_the_element_its_status_and_the_focus(visitor: Visitor) -> None:
    visitor.element_is_live()
    first = add("first")
    visitor.has("first")
    visitor.page.get_by_label(f"Draft {first.pk}").click()
    visitor.page.evaluate("document.querySelector('live-topic').mine = true")
    for name in ("second", None):  # with news on the page, and without
        if name:
            Group.objects.create(name=name)
        visitor.page.evaluate("document.getElementById('seen').textContent = 'old'")
        visitor.page.evaluate("Turbo.session.refresh(location.href)")
        expect(visitor.page.locator("#seen")).to_have_text("2")
        visitor.has("first", "second")
        visitor.element_is_live()
    assert visitor.page.evaluate("document.querySelector('live-topic').mine")
    expect(visitor.page.get_by_label(f"Draft {first.pk}")).to_be_focused()
    add("third")
    visitor.has("first", "second", "third")
    assert len(visitor.sockets) == 1


def test_a_refresh_with_an_older_rendering_loses_no_event(visitor: Visitor) -> None:
    visitor.element_is_live()
    held: list[Any] = []
    visitor.page.route("**/one", lambda route: held.append((route, route.fetch())))
    visitor.page.evaluate("document.getElementById('seen').textContent = 'old'")
    visitor.page.evaluate("Turbo.session.refresh(location.href)")
    while not held:
        visitor.page.evaluate("() => new Promise(requestAnimationFrame)")
    add("while the refresh was under way")
    visitor.has("while the refresh was under way")
    [(route, response)] = held
    route.fulfill(response=response)
    expect(visitor.page.locator("#seen")).to_have_text("0")
    visitor.has("while the refresh was under way")
    visitor.element_is_live()


@pytest.mark.parametrize("visitor", ["three"], indirect=True)
def test_a_module_of_the_page_keeps_one_connection_and_one_set_of_handlers(visitor: Visitor) -> None:
    visitor.module_is_live()
    for number, name in enumerate(["four", "three", "four", "three"]):
        visitor.follow(name)
        visitor.module_is_live()
        add(f"note {number}")
        visitor.has(*(f"note {each}" for each in range(number + 1)), within="#lines")
    assert visitor.page.evaluate("[lives.size, handled]") == [1, 4]
    assert len(visitor.sockets) == 1


@pytest.mark.parametrize("visitor", ["three"], indirect=True)
def test_going_back_shows_each_event_of_a_module_once(visitor: Visitor) -> None:
    visitor.module_is_live()
    add("first")
    visitor.has("first", within="#lines")
    visitor.follow("four")
    visitor.module_is_live()
    add("while away")
    visitor.has("first", "while away", within="#lines")
    visitor.page.go_back()
    expect(visitor.page).to_have_title("/three")
    visitor.module_is_live()
    visitor.has("first", "while away", within="#lines")
    add("afterwards")
    visitor.has("first", "while away", "afterwards", within="#lines")


@pytest.mark.parametrize("visitor", [""], indirect=True)
def test_a_visit_from_a_page_without_the_client_brings_it_to_life(visitor: Visitor) -> None:
    visitor.follow("one")
    visitor.element_is_live()
    add("first")
    visitor.has("first")


def test_a_stream_of_turbo_in_a_fragment_is_carried_out(visitor: Visitor) -> None:
    visitor.element_is_live()
    Notes().publish_html("stream.html", {"text": "<b>by a stream</b>"}, target="streams", swap="update")
    expect(visitor.page.locator("#log")).to_have_text("<b>by a stream</b>")
    Group.objects.create(name="elsewhere")
    visitor.page.evaluate("document.querySelector('live-topic').mine = true")
    Notes().publish_html("refresh.html", {}, target="streams", swap="update")
    visitor.has("elsewhere")
    assert visitor.page.evaluate("document.querySelector('live-topic').mine")
