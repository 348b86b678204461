"""Every room of Harbor: accessible, light, without a complaint on the console, and usable on a small screen."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Response, expect

from tests.browser.conftest import People
from tests.browser.harbor import Harbor, Person
from tests.browser.slow_phone import VIEWPORT, SlowPhone

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

MOST_REQUESTS = 12
"""Scripts and style sheets of one page: two rounds over the six connections that a browser opens to a server with HTTP/1.1."""

MOST_SHIFT = 0.1
"""Cumulative layout shift; more than this is felt."""

WIDER = """() => [document.scrollingElement, ...document.querySelectorAll("main, .log, .rail ul")]
    .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.id || each.tagName)"""

LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen"
CROWD = f"""
from django.contrib.auth.models import User
from chat.models import Message, Room
from logbook.models import Comment, Entry
from orders.models import Order, Product
ada, long = User.objects.get(username="ada"), User.objects.create(username="{LONG * 2}")
arabic = "مرحبا بكم في الميناء"
for body in ("{LONG * 3}", arabic):
    Message.objects.create(room=Room.objects.get(slug="lobby"), author=long, body=body)
    Comment.objects.create(entry=Entry.objects.get(pk=1), author=long, body=body)
Entry.objects.create(author=long, title="{LONG}", body=arabic)
product = Product.objects.create(name="{LONG}", note=arabic, price="12345.00")
Order.objects.create(customer=ada, product=product, state="cancelled")
Order.objects.create(customer=long, product=product)
"""

FOUND = """async () => (await axe.run({ resultTypes: ["violations"] })).violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).slice(0, 3).join("; ")}`)"""


def opened(person: Person, path: str) -> None:
    person.page.goto(f"{person.harbor.url}{path}")
    person.page.wait_for_load_state("load")
    if person.page.locator("#status").count():
        expect(person.status).to_have_text("Online", timeout=40_000)


@pytest.mark.timeout(180)  # eleven pages, and axe on each
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


def test_a_page_asks_at_once_for_all_that_it_needs_and_moves_nothing(people: People) -> None:
    """What does not depend on the machine; `python -m bench.rooms` measures the time."""
    ada = people("ada", viewport=VIEWPORT, is_mobile=True, has_touch=True)
    ada.sign_in()
    phone = SlowPhone(ada.page, slow=False)
    slow: dict[str, list[str]] = {}
    for path in ROOMS:
        opening = phone.open(f"{ada.harbor.url}{path}")
        late = set(opening.scripts) - set(opening.named)
        found = [f"{script} is asked for only after another script has come" for script in sorted(late)]
        found += [f"the first paint waits for {url}" for url in opening.blocking if "harbor.css" not in url]
        if (requests := len({*opening.named, *opening.blocking})) > MOST_REQUESTS:
            found.append(f"the browser has to ask for {requests} files before the page is usable")
        if opening.shifts >= MOST_SHIFT:
            found.append(f"what is there already moves by {opening.shifts:.3f}")
        if found:
            slow[path] = found
    assert not slow, json.dumps(slow, indent=1)


@pytest.mark.parametrize("width", [390, 640])  # the second is 1280 at 200 %
def test_nothing_is_wider_than_a_phone(people: People, width: int) -> None:
    ada = people("ada", viewport={"width": width, "height": 844})
    ada.harbor.manage("shell", "-c", CROWD)
    ada.sign_in()
    wide = {}
    for path in ROOMS:
        opened(ada, path)
        if found := ada.page.evaluate(WIDER):
            wide[path] = found
    assert not wide, wide


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_room_without_its_server_has_a_serious_barrier(
    harbor: Harbor, people: People, scheme: str
) -> None:
    ada = people("ada", color_scheme=scheme, bypass_csp=True)
    ada.sign_in()
    pages = [ada.page, *(ada.context.new_page() for _ in range(2))]
    for page, path in zip(pages, ["/rooms/lobby/", "/orders/", "/pads/open-harbour/"], strict=True):
        page.goto(f"{harbor.url}{path}")
        page.add_script_tag(path=AXE)
        expect(page.locator("#status")).to_have_text("Online", timeout=40_000)
    harbor.kill()
    for page in pages:
        expect(page.locator("#notice")).to_contain_text("The connection is gone.")
        assert page.evaluate(FOUND) == []
    ada.forgive_outage()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_that_is_not_there_says_so(people: People, width: int) -> None:
    ada = people("ada", viewport={"width": width, "height": 844}, bypass_csp=True)
    ada.sign_in()
    ada.page.goto(f"{ada.harbor.url}/rooms/nowhere/")
    expect(ada.page.get_by_role("heading", name="Not on this chart")).to_be_in_viewport()
    ada.page.add_script_tag(path=AXE)
    assert ada.page.evaluate(FOUND) == []
    ada.page.get_by_role("link", name="Back to the harbor").click()
    expect(ada.page).to_have_title("Rooms · Harbor")
    ada.complaints.clear()  # Chromium notes the 404 itself


def test_a_room_is_searched_on_a_phone(people: People) -> None:
    ada = people("ada", viewport=VIEWPORT, is_mobile=True, has_touch=True)
    ada.enter()
    search = ada.page.get_by_role("searchbox", name="Search in Lobby")
    search.tap()
    search.fill("lifejackets")
    assert search.evaluate("field => field.offsetWidth") > 250  # over the head of the room, not beside it
    search.press("Enter")
    expect(ada.page.locator(".found mark").first).to_have_text("lifejackets")


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
