"""Pages that replace their body and run their script again, as Turbo and htmx's ``hx-boost`` do."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import People
from tests.browser.harbor import Person

SWAP = """() => {
    // What Turbo does on a visit: announce, put the new body in the place of the old one, run its scripts.
    const next = new DOMParser().parseFromString(html, "text/html");
    dispatchEvent(new Event("swap:before-render"));
    document.body.replaceWith(document.adoptNode(next.body));
    for (const old of document.body.querySelectorAll("script[type=module]")) {
        const script = document.createElement("script");
        script.type = "module";
        script.textContent = old.textContent;
        old.replaceWith(script);
    }
}"""

RECIPE = """
    import { connect } from "/static/holdfast/holdfast.js";
    const page = new AbortController();
    addEventListener("swap:before-render", () => page.abort(), { once: true });
    const live = connect();
    globalThis.lives = (globalThis.lives ?? new Set()).add(live);
    globalThis.statuses ??= [];
    live.on("status", (status) => globalThis.statuses.push(status), { signal: page.signal });
    const room = live.lease("rooms/lobby", { signal: page.signal });
    room.on("message.posted", ({ body }) => {
        const line = document.createElement("li");
        line.textContent = body;
        document.querySelector("ul").append(line);
        globalThis.handled = (globalThis.handled ?? 0) + 1;
    });
    room.lifecycle.on("joined", ({ recovered }) => (document.body.dataset.joined = recovered));
"""


def document(script: str, cursor: str = "") -> str:
    return (
        '<!doctype html><html><head><link rel="icon" href="data:,"></head><body><p id="status"></p><ul></ul>'
        f'{cursor}<script type="module">{script}</script></body></html>'
    )


@pytest.fixture
def ada(people: People) -> Person:
    """A person on a page of the server, because Chromium lets no page that a test made up connect to this machine.

    The page has no scripts: the client is shared, and topics that Harbor's page joined would stay joined.
    """
    ada = people("ada", bypass_csp=True)
    empty = {"body": "", "content_type": "text/javascript"}
    for script in ("**/chat/rooms.js", "**/notices/notices.js"):
        ada.page.route(script, lambda route: route.fulfill(**empty))
    ada.sign_in()
    return ada


def open_page(person: Person, html: str) -> list[Any]:
    """Replace the page by this HTML. Return its WebSockets, including later ones."""
    sockets: list[Any] = []

    # A function of ours: Playwright writes an attribute on it.
    person.page.on("websocket", lambda socket: sockets.append(socket))
    person.page.evaluate("html => { globalThis.html = html; }", html)
    person.page.evaluate(SWAP)
    joined(person.page)
    return sockets


def joined(page: Page) -> None:
    page.wait_for_selector("body[data-joined]")


def post(person: Person, body: str) -> None:
    person.page.evaluate(
        """async (body) => {
            const { connect } = await import("/static/holdfast/holdfast.js");
            await connect().topic("rooms/lobby").call("post", { body });
        }""",
        body,
    )
    person.page.wait_for_function("body => document.body.textContent.includes(body)", arg=body)


def test_a_page_that_runs_its_script_again_keeps_one_connection_and_one_set_of_handlers(ada: Person) -> None:
    sockets = open_page(ada, document(RECIPE))
    for _ in range(5):
        ada.page.evaluate(SWAP)
        joined(ada.page)
    post(ada, "said once")
    assert len(sockets) == 1
    assert ada.page.evaluate("[lives.size, handled, document.querySelectorAll('li').length]") == [1, 1, 1]
    ada.page.evaluate("statuses.length = 0, [...lives][0].reconnect()")
    ada.page.wait_for_function("statuses.includes('online')")
    assert ada.page.evaluate("statuses") == ["connecting", "online"]


def test_the_page_after_a_swap_gets_what_came_while_the_body_was_replaced(
    ada: Person, people: People
) -> None:
    grace = people("grace").enter()
    open_page(ada, document(RECIPE))
    ada.page.evaluate("dispatchEvent(new Event('swap:before-render'))")
    ada.page.wait_for_function("[...lives][0].status === 'online'")
    grace.say("between two pages")
    grace.sees("between two pages")
    ada.page.evaluate(SWAP)
    ada.page.wait_for_selector("li:text-is('between two pages')")
    assert ada.page.evaluate("document.body.dataset.joined") == "true"
