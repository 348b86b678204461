"""htmx 2 and 4 around live elements: boosted visits, morphs, and elements that are removed."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from playwright.sync_api import Browser, Page, expect

from holdfast.testing.live_server import LiveSite
from tests.browser.notes import Visitor, add, served, shown

MODULES = Path(__file__).resolve().parents[2] / "client/node_modules"
FILES = {
    "2": MODULES / "htmx.org/dist/htmx.min.js",
    "4": MODULES / "htmx-4/dist/htmx.min.js",
    "morph": MODULES / "idiomorph/dist/idiomorph-ext.min.js",
}
MORPH = {"2": 'hx-ext="morph" hx-swap="morph:outerHTML"', "4": 'hx-swap="outerMorph"'}

NAMES = ("one", "two", "three", "four", "attributes")

HEAD = """<!doctype html><html><head><title>{{ request.path }}</title><link rel="icon" href="data:,">{% load holdfast %}
  <script src="/js/{{ version }}"></script>{% if version == "2" %}<script src="/js/morph"></script>{% endif %}"""
LINKS = """<nav hx-boost{% if version == "4" %}:inherited{% endif %}="true">{% for name in names %}
  <a href="/{{ version }}/{{ name }}">{{ name }}</a>{% endfor %}</nav>
  <button hx-get="?part" hx-target="#live" {{ morph|safe }}>morph</button>
  <button hx-get="/gone" hx-target="#live" hx-swap="outerHTML">remove</button>"""
COUNT = """<p id="count" hx-get="/count" hx-trigger="live:note.added" hx-swap="innerHTML">?</p>"""
SCRIPT = """<ul id="lines">{% for note in notes %}<li>{{ note.name }}</li>{% endfor %}</ul>
<script type="module">
  import { connect } from "holdfast";

  const page = new AbortController();
  const end = ({ detail }) => { if ((detail.ctx ?? detail).target === document.body) page.abort(); };
  for (const name of ["htmx:beforeSwap", "htmx:before:swap"]) document.addEventListener(name, end, { signal: page.signal });
  const live = connect();
  globalThis.lives = (globalThis.lives ?? new Set()).add(live);
  const notes = live.lease("notes", { signal: page.signal });
  notes.on("note.added", ({ name }) => {
    document.getElementById("lines").append(Object.assign(document.createElement("li"), { textContent: name }));
    globalThis.handled = (globalThis.handled ?? 0) + 1;
  });
  notes.ready.then(() => { document.getElementById("lines").dataset.topic = "joined"; });
</script>"""
TEMPLATES = {
    "note.html": """<li id="note-{{ note.pk }}">{{ note.name }} <input aria-label="Draft {{ note.pk }}"></li>""",
    "notes.html": '<ul id="notes">{% for note in notes %}{% include "note.html" %}{% endfor %}</ul>',
    "element.html": '{% load holdfast %}{% live_topic topic position id="live" %}{% include "notes.html" %}'
    + COUNT
    + "{% endlive_topic %}",
    "attribute.html": '<main id="live" hx-ext="live" live-topic="{{ topic }}" live-since="{{ position }}">'
    '{% include "notes.html" %}' + COUNT + "</main>",
    "elements.html": HEAD
    + "{% live_script html=True %}</head><body>"
    + LINKS
    + '{% include "element.html" %}</body></html>',
    "attributes.html": HEAD
    + "{% live_script html=True %}</head><body>"
    + LINKS
    + '{% include "attribute.html" %}</body></html>',
    "module.html": HEAD
    + "{% live_script %}</head><body>"
    + LINKS
    + "{% live_cursor topic position %}"
    + SCRIPT
    + "</body></html>",
}


def show(request: HttpRequest, version: str, template: str) -> HttpResponse:
    if "part" in request.GET:
        template = template.removesuffix("s")
    known = shown() | {"names": NAMES, "version": version, "morph": MORPH[version]}
    return render(request, f"{template}.html", known)


def script(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(FILES[name].read_bytes(), content_type="text/javascript")


urlpatterns = [
    path("js/<slug:name>", script),
    path("count", lambda request: HttpResponse(str(Group.objects.count()))),
    path("gone", lambda request: HttpResponse('<p id="live">gone</p>')),
    *(path(f"<slug:version>/{name}", show, {"template": "elements"}) for name in ("one", "two")),
    *(path(f"<slug:version>/{name}", show, {"template": "module"}) for name in ("three", "four")),
    path("<slug:version>/attributes", show, {"template": "attributes"}),
]


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with served(__name__, TEMPLATES, monkeypatch):
        yield


class HtmxVisitor(Visitor):
    """A page with one version of htmx, and what it says to the server."""

    def __init__(self, page: Page, url: str) -> None:
        self.sent: list[Any] = []
        super().__init__(page, url)

    def _opened(self, socket: Any) -> None:
        super()._opened(socket)
        socket.on("framesent", lambda data: self.sent.append(json.loads(data)))

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name).click()
        self.page.wait_for_url(f"**/{name}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def is_live(self) -> None:
        live = self.page.locator(
            "live-topic[status=joined], main[live-status=joined], #lines[data-topic=joined]"
        )
        expect(live).to_have_count(1)

    def has(self, *names: str) -> None:
        expect(self.page.locator("li")).to_have_text(list(names))

    def leaves(self) -> None:
        deadline = time.monotonic() + 15
        while not any(frame["type"] == "leave" for frame in self.sent):
            assert time.monotonic() < deadline, self.sent
            self.page.evaluate("() => new Promise(requestAnimationFrame)")


@pytest.fixture
def visitor(live_site: LiveSite, browser: Browser, request: pytest.FixtureRequest) -> Iterator[HtmxVisitor]:
    with browser.new_context() as context:
        visitor = HtmxVisitor(context.new_page(), f"{live_site.url}/{request.param}")
        visitor.is_live()
        yield visitor
        assert visitor.said == []
        assert visitor.documents == 1


def on(*pages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("visitor", pages, indirect=True)


@on("2/one", "4/one")
def test_boosted_visits_keep_one_connection_and_each_fragment_is_there_once(visitor: HtmxVisitor) -> None:
    for number, name in enumerate(["two", "one", "two"]):
        visitor.follow(name)
        visitor.is_live()
        add(f"note {number}")
        visitor.has(*(f"note {each}" for each in range(number + 1)))
        expect(visitor.page.locator("#count")).to_have_text(str(number + 1))
    assert len(visitor.sockets) == 1


@on("2/attributes")
def test_boosted_visits_keep_an_element_of_the_extension_alive(visitor: HtmxVisitor) -> None:
    for number, name in enumerate(["one", "attributes", "attributes"]):
        visitor.follow(name)
        visitor.is_live()
        add(f"note {number}")
        visitor.has(*(f"note {each}" for each in range(number + 1)))
    assert len(visitor.sockets) == 1


@on("2/three", "4/three")
def test_boosted_visits_keep_one_set_of_handlers_of_a_module(visitor: HtmxVisitor) -> None:
    for number, name in enumerate(["four", "three", "four"]):
        visitor.follow(name)
        visitor.is_live()
        add(f"note {number}")
        visitor.has(*(f"note {each}" for each in range(number + 1)))
    assert visitor.page.evaluate("[lives.size, handled]") == [1, 3]
    assert len(visitor.sockets) == 1


@on("2/one", "4/one", "2/attributes")
def test_a_morph_by_htmx_keeps_the_element_its_status_and_the_focus(visitor: HtmxVisitor) -> None:
    first = add("first")
    visitor.has("first")
    visitor.page.evaluate("document.getElementById('live').mine = true")
    field = visitor.page.get_by_label(f"Draft {first.pk}")
    for names in (["first", "second"], ["first", "second"]):  # with news, and without
        Group.objects.get_or_create(name="second")
        field.click()
        visitor.page.evaluate("document.getElementById('count').textContent = 'old'")
        visitor.page.get_by_role("button", name="morph").evaluate("button => button.click()")
        expect(visitor.page.locator("#count")).to_have_text("?")
        visitor.has(*names)
        visitor.is_live()
        expect(field).to_be_focused()
    assert visitor.page.evaluate("document.getElementById('live').mine")
    add("third")
    visitor.has("first", "second", "third")
    assert len(visitor.sockets) == 1


@on("2/one", "4/one", "2/attributes")
def test_a_morph_with_an_older_rendering_loses_no_event(visitor: HtmxVisitor) -> None:
    held: list[Any] = []
    visitor.page.route("**/*?part", lambda route: held.append((route, route.fetch())))
    visitor.press("morph")
    while not held:
        visitor.page.evaluate("() => new Promise(requestAnimationFrame)")
    add("while the request was under way")
    visitor.has("while the request was under way")
    expect(visitor.page.locator("#count")).to_have_text("1")
    [(route, response)] = held
    route.fulfill(response=response)
    expect(visitor.page.locator("#count")).not_to_have_text("1")
    visitor.has("while the request was under way")
    visitor.is_live()


@on("2/one", "4/one", "2/attributes")
def test_an_element_that_htmx_removes_leaves_its_topic(visitor: HtmxVisitor) -> None:
    visitor.press("remove")
    expect(visitor.page.get_by_text("gone")).to_be_attached()
    visitor.leaves()


@pytest.mark.parametrize("page", ["4/attributes"])
def test_htmx_4_says_that_the_attributes_are_those_of_htmx_2(
    live_site: LiveSite, browser: Browser, page: str
) -> None:
    with browser.new_context() as context:
        visitor = HtmxVisitor(context.new_page(), f"{live_site.url}/{page}")
        expect(visitor.page.locator("#notes")).to_be_attached()
        visitor.page.wait_for_load_state()
    assert [said for said in visitor.said if "<live-topic" in said and "htmx" in said]
