"""Every room of Harbor on a fleet: two people on two servers, of which one is killed. Nothing is lost in any room."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.fleet import HarborFleet, running_fleet
from tests.browser.harbor import Person, person

NUMBER = re.compile(r"^[1-9][\d,.]*")
LONG = 60_000


@pytest.fixture
def fleet(tmp_path: Path, postgres_dsn: str, redis_url: str) -> Iterator[HarborFleet]:
    with running_fleet(tmp_path, database=postgres_dsn, redis=redis_url) as fleet:
        yield fleet


@dataclass(kw_only=True)
class Pages:
    """The pages that the two have open at the same time. Ada is staff, on server one; Grace is on server two."""

    ada: Person
    grace: Person
    counter: Page
    orders: Page
    inbox: Page
    logbooks: tuple[Page, Page]
    pads: tuple[Page, Page]
    bridge: Page

    @property
    def texts(self) -> tuple[Locator, Locator]:
        return self.pads[0].get_by_role("textbox"), self.pads[1].get_by_role("textbox")


def opened(ada: Person, grace: Person) -> Pages:
    ada.enter()
    grace.enter()
    return Pages(
        ada=ada,
        grace=grace,
        counter=ada.opened("/orders/counter/"),
        orders=grace.opened("/orders/"),
        inbox=grace.opened("/notices/"),
        logbooks=(ada.opened("/logbook/1/"), grace.opened("/logbook/1/")),
        pads=(ada.opened("/pads/open-harbour/"), grace.opened("/pads/open-harbour/")),
        bridge=ada.opened("/bridge/"),
    )


def comment(page: Page, text: str) -> None:
    page.get_by_label("Your comment").fill(text)
    page.get_by_role("button", name="Comment").click()


def append(text: Locator, words: str) -> None:
    text.press("Control+End")
    text.press_sequentially(words)


def are_here(*people: Person) -> None:
    for each in people:
        here = each.page.locator("#here")
        expect(here).to_have_accessible_name(f"Who is here: {len(people)} people", timeout=LONG)


def have(pages: tuple[Page, Page], *comments: str) -> None:
    for page in pages:
        for text in comments:
            expect(page.locator(".comment", has_text=text)).to_have_count(1, timeout=LONG)


def hold(texts: tuple[Locator, Locator], *words: str) -> None:
    for text in texts:
        for each in words:
            expect(text).to_have_value(re.compile(re.escape(each)), timeout=LONG)
    assert texts[0].input_value() == texts[1].input_value()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_room_works_across_two_servers_and_loses_nothing_with_one_of_them(
    browser: Browser, fleet: HarborFleet
) -> None:
    with person(browser, fleet.one, "ada") as ada, person(browser, fleet.two, "grace") as grace:
        pages = opened(ada, grace)
        order = talk_order_comment_and_write(pages)
        fleet.two.kill()
        expect(grace.status).to_contain_text("Reconnecting", timeout=LONG)
        go_on_without(pages, order)
        fleet.two.start()
        all_is_there(pages, order)
        for each in (ada, grace):
            for page in each.context.pages[1:]:
                page.close()
        race(fleet, ada, grace)
        grace.forgive_outage()


def talk_order_comment_and_write(pages: Pages) -> str:
    """Each room's main action, from one server to the other and back. Return the number of the order."""
    ada, grace = pages.ada, pages.grace
    are_here(ada, grace)
    ada.say("Good morning, Grace.")
    grace.sees("Good morning, Grace.")
    grace.say("Good morning, Ada.")
    ada.sees("Good morning, Ada.")

    pages.orders.get_by_role("button", name="Order Lemon cake").click()
    placed = pages.orders.locator(".order").first
    expect(placed).to_contain_text("Lemon cake")
    number = placed.get_attribute("data-id") or ""
    row = pages.counter.locator(f"#order-{number}")
    expect(row).to_contain_text("grace")
    row.get_by_role("button", name="Next step").click()
    expect(pages.orders.locator(f"#order-{number}")).to_have_attribute("data-state", "packed", timeout=LONG)
    expect(pages.inbox.locator("#bell")).to_have_text("1")

    comment(pages.logbooks[1], "Seen from the pier")
    have(pages.logbooks, "Seen from the pier")

    append(pages.texts[0], " Ada was here.")
    hold(pages.texts, "Ada was here.")
    append(pages.texts[1], " Grace too.")
    hold(pages.texts, "Ada was here.", "Grace too.")

    expect(pages.bridge.locator("#rows th")).to_have_count(2, timeout=LONG)
    expect(pages.bridge.locator("[data-plot=connections] output")).to_have_text(NUMBER)
    return number


def go_on_without(pages: Pages, order: str) -> None:
    """Server two is gone: Ada goes on, and Grace writes what can wait."""
    pages.ada.say("Are you there?")
    pages.grace.say("My line is down.")
    row = pages.counter.locator(f"#order-{order}")
    row.get_by_role("button", name="Next step").click()
    expect(row).to_have_attribute("data-state", "shipped")
    comment(pages.logbooks[0], "Written on server one")
    append(pages.texts[0], " By Ada alone.")
    append(pages.texts[1], " By Grace offline.")
    expect(pages.bridge.locator("#rows th")).to_have_count(1, timeout=LONG)


def all_is_there(pages: Pages, order: str) -> None:
    ada, grace = pages.ada, pages.grace
    for each in (ada, grace):
        for text in ("Are you there?", "My line is down."):
            expect(each.message(text)).to_have_count(1, timeout=LONG)
        expect(each.pending).to_have_count(0, timeout=LONG)
    assert ada.shown() == grace.shown()
    are_here(ada, grace)
    expect(pages.orders.locator(f"#order-{order}")).to_have_attribute("data-state", "shipped", timeout=LONG)
    expect(pages.inbox.locator("#bell")).to_have_text("2", timeout=LONG)
    have(pages.logbooks, "Seen from the pier", "Written on server one")
    hold(pages.texts, "By Ada alone.", "By Grace offline.")
    expect(pages.bridge.locator("#rows th")).to_have_count(2, timeout=LONG)


def race(fleet: HarborFleet, *people: Person) -> None:
    """The boats sail in the bots' process. Both servers pass their positions on."""
    with fleet.bots():
        for each in people:
            each.page.goto(f"{each.harbor.url}/race/")
        for each in people:
            rate = each.page.locator("[data-reader=quick] [data-value=rate]")
            expect(rate).to_have_text(NUMBER, timeout=LONG)
            expect(each.page.locator("#leaders li")).to_have_count(3)
