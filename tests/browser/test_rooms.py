"""Every room of Harbor: accessible, light, without a complaint on the console, and usable on a small screen."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Response, expect

from tests.browser.conftest import People
from tests.browser.harbor import Person

AXE = Path(__file__).parents[2] / "client" / "node_modules" / "axe-core" / "axe.min.js"
ROOMS = [
    "/",
    "/rooms/lobby/",
    "/orders/",
    "/orders/counter/",
    "/notices/",
    "/logbook/",
    "/logbook/1/",
    "/pads/",
    "/pads/open-harbour/",
    "/race/",
    "/bridge/",
]
MOST_BYTES = 60_000
"""JavaScript and CSS of one page, compressed as a server would."""

FOUND = """async () => (await axe.run({ resultTypes: ["violations"] })).violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).slice(0, 3).join("; ")}`)"""


def opened(person: Person, path: str) -> None:
    person.page.goto(f"{person.harbor.url}{path}")
    person.page.wait_for_load_state("load")
    if person.page.locator("#status").count():
        expect(person.status).to_have_text("Online", timeout=40_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_room_has_a_serious_barrier(people: People, scheme: str) -> None:
    ada = people("ada", color_scheme=scheme, bypass_csp=True)
    ada.sign_in()
    found: dict[str, Any] = {}
    for path in ROOMS:
        opened(ada, path)
        ada.page.add_script_tag(path=AXE)
        if barriers := ada.page.evaluate(FOUND):
            found[path] = barriers
    assert not found, json.dumps(found, indent=1)


def test_a_page_is_light(people: People) -> None:
    ada = people("ada")
    ada.sign_in()
    bytes_of: dict[str, int] = {}

    def note(response: Response) -> None:
        if response.request.resource_type in {"script", "stylesheet"} and response.status == 200:
            bytes_of[response.url] = len(gzip.compress(response.body()))

    ada.page.on("response", note)
    heavy = {}
    for path in ROOMS:
        bytes_of.clear()
        opened(ada, path)
        assert bytes_of
        if sum(bytes_of.values()) > MOST_BYTES:
            heavy[path] = dict(bytes_of)
    assert not heavy, json.dumps(heavy, indent=1)


def test_nothing_is_wider_than_a_phone(people: People) -> None:
    ada = people("ada", viewport={"width": 390, "height": 844})
    ada.sign_in()
    for path in ROOMS:
        opened(ada, path)
        wide = ada.page.evaluate("document.scrollingElement.scrollWidth > innerWidth")
        assert not wide, path


def test_the_rooms_can_be_walked_by_keyboard(people: People) -> None:
    ada = people("ada")
    ada.sign_in()
    opened(ada, "/orders/")
    ada.page.keyboard.press("Tab")
    skip = ada.page.get_by_role("link", name="Skip to the page")
    expect(skip).to_be_focused()
    ada.page.keyboard.press("Enter")
    assert ada.page.url.endswith("#main")
    link = ada.page.get_by_role("navigation", name="Harbor").get_by_role("link", name="Notices")
    link.focus()
    ada.page.keyboard.press("Enter")
    expect(ada.page).to_have_title("Notices · Harbor")
