"""HTML over the wire: a site without its own JavaScript, whose pages show the changes of other users at once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path
from playwright.sync_api import Browser, BrowserContext, Page, expect

from holdfast import Html
from holdfast.testing.live_server import LiveSite
from tests.browser.notes import Notes, add, served, shown

HTMX = Path(__file__).resolve().parents[2] / "client/node_modules/htmx.org/dist/htmx.min.js"

NONCE = "bm9uY2U"
POLICY = f"default-src 'self'; script-src 'self' 'nonce-{NONCE}'; img-src data:; object-src 'none'; base-uri 'none'"
STRICT = f"{POLICY}; require-trusted-types-for 'script'; trusted-types holdfast"

FORM = (
    """<form method="post">{% csrf_token %}<input name="name" aria-label="Note"><button>Add</button></form>"""
)
TEMPLATES = {
    "note.html": """<li id="note-{{ note.pk }}">{{ note.name }} <input aria-label="Draft {{ note.pk }}"></li>""",
    "notes.html": '<ul id="notes">{% for note in notes %}{% include "note.html" %}{% endfor %}</ul>',
    "page.html": '<!doctype html><link rel="icon" href="data:,">{% load holdfast %}{% live_script html=True %}'
    + FORM
    + '{% live_topic topic position id="live" %}{% include "notes.html" %}{% endlive_topic %}',
    "htmx.html": """<!doctype html><link rel="icon" href="data:,">{% load holdfast %}
        <meta name="htmx-config" content='{"includeIndicatorStyles": false, "allowEval": false}'>
        <script src="/htmx.js"></script>{% live_script html=True %}"""
    + FORM
    + """<main hx-ext="live" live-topic="{{ topic }}" live-since="{{ position }}">{% include "notes.html" %}
        <p id="count" hx-get="/count" hx-trigger="live:note.added" hx-swap="innerHTML">?</p></main>""",
}


def show(request: HttpRequest, template: str, policy: str) -> HttpResponse:
    """The list, and the form that adds to it."""
    if request.method == "POST":
        add(request.POST["name"])
        return HttpResponseRedirect(request.path)
    response = render(request, template, shown() | {"csp_nonce": NONCE})
    response["Content-Security-Policy"] = policy
    if "older" in request.COOKIES:  # once: a page rendered before the log was rebuilt
        response.content = response.content.replace(b'since="', b'since="x').replace(b"first", b"before")
        response.delete_cookie("older")
    return response


urlpatterns = [
    path("", show, {"template": "page.html", "policy": STRICT}),
    path("htmx", show, {"template": "htmx.html", "policy": POLICY}),
    path("htmx.js", lambda request: HttpResponse(HTMX.read_bytes(), content_type="text/javascript")),
    path("count", lambda request: HttpResponse(str(Group.objects.count()))),
]


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with served(__name__, TEMPLATES, monkeypatch):
        yield


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


def visit(context: BrowserContext, url: str) -> tuple[Page, list[str]]:
    """A page, and the messages of its console."""
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    return page, said


def write(page: Page, name: str) -> None:
    page.get_by_label("Note").fill(name)
    page.get_by_role("button", name="Add").click()


def test_a_page_works_without_javascript_and_comes_alive_with_it(
    live_site: LiveSite, browser: Browser, context: BrowserContext
) -> None:
    ada, said = visit(context, live_site.url)
    expect(ada.locator("live-topic[status=joined]")).to_be_attached()
    with browser.new_context(java_script_enabled=False) as plain:
        grace, _ = visit(plain, live_site.url)
        write(grace, "<b>from a plain page</b>")
        expect(grace.locator("li")).to_have_text(["<b>from a plain page</b>"])
        expect(ada.locator("li")).to_have_text(["<b>from a plain page</b>"])
        write(ada, "from a live one")
        expect(ada.locator("li")).to_have_count(2)
        expect(grace.locator("li")).to_have_count(1)
        grace.reload()
        expect(grace.locator("li")).to_have_count(2)
    assert said == []


def test_the_keyboard_s_focus_stays_through_a_morph(live_site: LiveSite, context: BrowserContext) -> None:
    first, second = add("first"), add("second")
    page, said = visit(context, live_site.url)
    expect(page.locator("live-topic[status=joined]")).to_be_attached()
    field = page.get_by_label(f"Draft {second.pk}")
    field.click()
    page.keyboard.type("dear all")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.evaluate("document.addEventListener('focusout', () => { globalThis.blurred = true; })")
    third = add("third")
    Group.objects.filter(pk=second.pk).update(name="SECOND")
    notes = [Group.objects.get(pk=note.pk) for note in (third, second, first)]
    Notes().publish_html("notes.html", {"notes": notes}, target="notes")
    expect(page.locator("li")).to_have_text(["third", "SECOND", "first"])
    expect(field).to_be_focused()
    page.keyboard.type("there, ")
    expect(field).to_have_value("dear there, all")
    assert page.evaluate("globalThis.blurred") is None
    assert said == []


def test_an_element_that_missed_events_gets_its_contents_from_the_page(
    live_site: LiveSite, context: BrowserContext
) -> None:
    add("first")
    context.add_cookies([{"name": "older", "value": "1", "url": live_site.url}])
    page, _ = visit(context, live_site.url)
    expect(page.locator("li")).to_have_text(["first"])
    expect(page.locator("live-topic[status=joined]")).to_be_attached()
    add("second")
    expect(page.locator("li")).to_have_text(["first", "second"])


def test_no_script_of_a_fragment_runs(live_site: LiveSite, context: BrowserContext) -> None:
    page, _ = visit(context, live_site.url)
    expect(page.locator("live-topic[status=joined]")).to_be_attached()
    script = f'<script nonce="{NONCE}">globalThis.ran = true</script>'
    for swap in ("append", "update", "morph", "replace"):
        html = f'<ul id="{"inner" if swap == "append" else "notes"}"><li>{swap}</li>{script}</ul>'
        Notes().publish(Html(target="notes", swap=swap, html=html))
        expect(page.get_by_text(swap)).to_be_attached()
    assert page.evaluate("globalThis.ran") is None


@pytest.mark.parametrize("moving", ["moveBefore", "insertBefore"])
def test_a_part_that_moves_in_the_page_stays_alive(
    live_site: LiveSite, context: BrowserContext, moving: str
) -> None:
    page, _ = visit(context, live_site.url)
    expect(page.locator("live-topic[status=joined]")).to_be_attached()
    sockets: list[Any] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.evaluate(f"document.body.{moving}(document.querySelector('live-topic'), document.body.firstChild)")
    add("first")
    expect(page.locator("li")).to_have_count(1)
    page.evaluate("document.body.append(document.body.querySelector('live-topic').cloneNode(true))")
    page.evaluate("document.querySelector('live-topic').remove()")
    add("second")
    expect(page.locator("li")).to_have_count(2)
    assert sockets == []


# ── htmx ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_htmx_page_is_updated_by_another_user(
    live_site: LiveSite, browser: Browser, context: BrowserContext
) -> None:
    ada, said = visit(context, f"{live_site.url}/htmx")
    expect(ada.locator("main[live-status=joined]")).to_be_attached()
    ada.evaluate("""() => {
        globalThis.swaps = [];
        document.body.addEventListener("htmx:afterSettle", ({ detail }) => swaps.push(detail.elt.id));
    }""")
    with browser.new_context() as other:
        grace, _ = visit(other, f"{live_site.url}/htmx")
        write(grace, "hello")
    expect(ada.locator("li")).to_have_text(["hello"])
    expect(ada.locator("#count")).to_have_text("1")
    ada.wait_for_function("swaps.includes('notes')")
    assert said == []


def test_htmx_carries_out_what_a_fragment_says(live_site: LiveSite, context: BrowserContext) -> None:
    page, _ = visit(context, f"{live_site.url}/htmx")
    expect(page.locator("main[live-status=joined]")).to_be_attached()
    button = '<li id="b"><button hx-get="/count" hx-target="#count">count</button></li>'
    for swap in ("append", "prepend"):  # the second time the page has it
        Notes().publish(Html(target="notes", swap=swap, html=button))
    page.get_by_role("button", name="count").click()
    expect(page.locator("#count")).to_have_text("0")


def test_an_element_that_htmx_removes_leaves_its_topic(live_site: LiveSite, context: BrowserContext) -> None:
    left: list[str] = []

    def note(data: str | bytes) -> None:
        frame = json.loads(data)
        if frame["type"] == "leave":
            left.append(frame["topic"])

    context.on("page", lambda page: page.on("websocket", lambda socket: socket.on("framesent", note)))
    page, said = visit(context, f"{live_site.url}/htmx")
    expect(page.locator("main[live-status=joined]")).to_be_attached()
    assert left == []
    page.evaluate(
        "htmx.swap(document.querySelector('main'), '<p id=\"notes\"></p>', { swapStyle: 'outerHTML' })"
    )
    deadline = time.monotonic() + 15
    while not left and time.monotonic() < deadline:
        page.evaluate("() => new Promise(requestAnimationFrame)")
    assert left == ["notes"]
    assert said == []
