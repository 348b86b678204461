"""{% live_script %} in a page with an import map, its own or that of a package."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.template import Context, Template
from django.test import override_settings
from playwright.sync_api import Browser, Page, Route

CLIENT = Path(__file__).resolve().parents[2] / "src/holdfast/static/holdfast/holdfast.js"
SITE = "http://site.localhost"

OWN = """<script type="importmap">{"imports": {"own": "/own.js"}}</script>"""
BOTH = """<script type="importmap">
  {"imports": {"own": "/own.js", "holdfast": "{% load static %}{% static 'holdfast/holdfast.js' %}"}}
</script>"""
MODULE = """<script type="module">
  import { connect } from "holdfast";
  import { answer } from "own";
  window.found = [typeof connect, answer];
</script>"""


class Visit:
    """A page as a browser shows it, with the messages of its console."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))

    def open(self, head: str) -> object:
        """Open the page, and return what its module found."""
        with override_settings(DEBUG=True):
            html = Template(f"<!doctype html><head>{{% load holdfast %}}{head}{MODULE}").render(Context())

        def serve(route: Route) -> None:
            path = route.request.url.removeprefix(SITE)
            if path == "/own.js":
                route.fulfill(body="export const answer = 42;", content_type="text/javascript")
            elif path == "/static/holdfast/holdfast.js":
                route.fulfill(path=CLIENT, content_type="text/javascript")
            else:
                route.fulfill(body=html if path == "/" else "", content_type="text/html")

        self._page.route(f"{SITE}/**", serve)
        self._page.goto(f"{SITE}/")
        return self._page.evaluate("window.found")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    page = browser.new_page()
    yield Visit(page)
    page.close()


@pytest.mark.parametrize("head", [OWN + "{% live_script %}", "{% live_script %}" + OWN])
def test_two_maps_are_said_in_the_console(visit: Visit, head: str) -> None:
    visit.open(head)
    [said] = visit.said
    assert said.startswith("This page has more than one import map, and Firefox takes only the first")
    assert "{% live_script importmap=False %}" in said


@pytest.mark.parametrize(
    "head", [BOTH + "{% live_script importmap=False %}", "{% live_script importmap=False %}" + BOTH]
)
def test_one_map_for_everything_works_in_either_order(visit: Visit, head: str) -> None:
    assert visit.open(head) == ["function", 42]
    assert visit.said == []
