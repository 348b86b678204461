"""Turbo 8: visits that replace the body, refreshes that morph it, and streams that a topic brings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path
from playwright.sync_api import Browser, expect

from holdfast.testing.live_server import LiveSite
from tests.browser.notes import Notes, Visitor, add, served, shown

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


def show(request: HttpRequest, template: str) -> HttpResponse:
    if request.method == "POST":
        add(request.POST["name"])
        return HttpResponseRedirect(request.path)
    return render(request, template, shown())


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
    with served(__name__, TEMPLATES, monkeypatch):
        yield


class TurboVisitor(Visitor):
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
def visitor(live_site: LiveSite, browser: Browser, request: pytest.FixtureRequest) -> Iterator[TurboVisitor]:
    with browser.new_context() as context:
        visitor = TurboVisitor(context.new_page(), f"{live_site.url}/{getattr(request, 'param', 'one')}")
        yield visitor
        assert visitor.said == []
        assert visitor.documents == 1


def test_visits_keep_one_connection_and_each_fragment_is_there_once(visitor: TurboVisitor) -> None:
    visitor.element_is_live()
    for number, name in enumerate(["two", "one", "two", "one"]):
        visitor.follow(name)
        visitor.element_is_live()
        add(f"note {number}")
        visitor.has(*(f"note {each}" for each in range(number + 1)))
    assert len(visitor.sockets) == 1


def test_a_page_from_turbo_s_cache_goes_on_from_its_own_position(visitor: TurboVisitor) -> None:
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


def test_a_refresh_that_morphs_keeps_the_element_its_status_and_the_focus(visitor: TurboVisitor) -> None:
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


def test_a_refresh_with_an_older_rendering_loses_no_event(visitor: TurboVisitor) -> None:
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
def test_a_module_of_the_page_keeps_one_connection_and_one_set_of_handlers(visitor: TurboVisitor) -> None:
    visitor.module_is_live()
    for number, name in enumerate(["four", "three", "four", "three"]):
        visitor.follow(name)
        visitor.module_is_live()
        add(f"note {number}")
        visitor.has(*(f"note {each}" for each in range(number + 1)), within="#lines")
    assert visitor.page.evaluate("[lives.size, handled]") == [1, 4]
    assert len(visitor.sockets) == 1


@pytest.mark.parametrize("visitor", ["three"], indirect=True)
def test_going_back_shows_each_event_of_a_module_once(visitor: TurboVisitor) -> None:
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
def test_a_visit_from_a_page_without_the_client_brings_it_to_life(visitor: TurboVisitor) -> None:
    visitor.follow("one")
    visitor.element_is_live()
    add("first")
    visitor.has("first")


def test_a_stream_of_turbo_in_a_fragment_is_carried_out(visitor: TurboVisitor) -> None:
    visitor.element_is_live()
    Notes().publish_html("stream.html", {"text": "<b>by a stream</b>"}, target="streams", swap="update")
    expect(visitor.page.locator("#log")).to_have_text("<b>by a stream</b>")
    Group.objects.create(name="elsewhere")
    visitor.page.evaluate("document.querySelector('live-topic').mine = true")
    Notes().publish_html("refresh.html", {}, target="streams", swap="update")
    visitor.has("elsewhere")
    assert visitor.page.evaluate("document.querySelector('live-topic').mine")
