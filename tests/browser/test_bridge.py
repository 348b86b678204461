"""The servers' own numbers, on a page for staff."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor

SOME = re.compile(r"^[1-9][\d,.]*")


def test_staff_see_who_is_connected_and_how_long_an_event_takes(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada"), people("grace")
    ada.sign_in()
    ada.page.goto(f"{harbor.url}/bridge/")
    now = ada.page.locator("[data-plot=connections] output")
    expect(now).to_have_text("1", timeout=40_000)
    grace.enter()
    expect(now).to_have_text("2")
    expect(ada.page.locator("#rows td").first).to_have_text("2")
    expect(ada.page.locator("[data-plot=latency] output")).to_have_text(
        re.compile(r"^[\d,.]+ / [\d,.]+$"), timeout=20_000
    )
    expect(ada.page.locator("[data-plot=memory] output")).to_have_text(SOME)
    grace.page.goto(f"{harbor.url}/bridge/")
    expect(grace.page.get_by_role("heading")).to_have_text("Not on this chart")
    grace.complaints = [each for each in grace.complaints if "404" not in each]


def test_the_numbers_go_on_when_a_killed_server_is_back(people: People, harbor: Harbor) -> None:
    ada = people("ada")
    ada.sign_in()
    ada.page.goto(f"{harbor.url}/bridge/")
    server = ada.page.locator("#rows th")
    expect(server).to_have_count(1, timeout=40_000)
    before = server.inner_text()
    harbor.kill()
    expect(ada.page.locator("#status")).to_contain_text("Reconnecting", timeout=30_000)
    harbor.start()
    expect(ada.page.locator("#rows")).not_to_contain_text(before, timeout=60_000)
    expect(server).to_have_count(1)
    expect(ada.page.locator("#status")).to_have_text("Online")
    ada.complaints = [each for each in ada.complaints if not any(known in each for known in AWAY)]
