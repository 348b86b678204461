"""A feed that is faster than the eye: one page keeps up with it, one reader does not, and the server replaces what is old."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person

EVENTS = "Failed to load resource: net::ERR_", "net::ERR_INCOMPLETE_CHUNKED_ENCODING"


@pytest.fixture
def fleet(harbor: Harbor) -> Harbor:
    """The demo's server with its bots, which sail the boats."""
    harbor.stop()
    harbor.changes["HARBOR_BOTS"] = "1"
    harbor.start()
    return harbor


def value(person: Person, reader: str, name: str) -> Locator:
    return person.page.locator(f"[data-reader={reader}] [data-value={name}]")


def watching(person: Person) -> None:
    person.sign_in()
    person.page.goto(f"{person.harbor.url}/race/")
    expect(value(person, "quick", "rate")).to_have_text(re.compile(r"^[1-9][\d,]*$"), timeout=40_000)


def test_every_boat_moves_and_the_rate_leaves_out_positions(fleet: Harbor, people: People) -> None:
    grace = people("grace")
    watching(grace)
    expect(grace.page.locator("#status")).to_have_text("Online")
    expect(grace.page.locator("#leaders li")).to_have_count(3)
    expect(value(grace, "server", "superseded")).to_have_text(re.compile(r"^[1-9]"))
    drawn = """() => {
        const canvas = document.getElementById("chart");
        return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean);
    }"""
    grace.page.wait_for_function(drawn, timeout=30_000)


@pytest.mark.slow
def test_for_a_reader_that_is_too_slow_old_positions_are_replaced(fleet: Harbor, people: People) -> None:
    grace = people("grace")
    watching(grace)
    grace.page.get_by_role("slider").fill("5")
    expect(value(grace, "server", "conflated")).to_have_text(re.compile(r"^[1-9]"), timeout=120_000)
    expect(value(grace, "quick", "behind")).to_have_text(re.compile(r"^[0-4]\.\d s$"))


def test_a_page_goes_on_by_itself_after_the_server_was_killed(fleet: Harbor, people: People) -> None:
    grace = people("grace")
    watching(grace)
    fleet.kill()
    expect(grace.page.locator("#status")).to_have_text("Reconnecting", timeout=30_000)
    fleet.start()
    expect(grace.page.locator("#status")).to_have_text("Online", timeout=60_000)
    expect(value(grace, "quick", "rate")).to_have_text(re.compile(r"^[1-9][\d,]*$"), timeout=60_000)
    grace.complaints = [
        each for each in grace.complaints if not any(known in each for known in (*AWAY, *EVENTS))
    ]
