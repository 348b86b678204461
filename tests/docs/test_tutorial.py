"""The tutorial, followed to the letter from an empty folder, with Chromium."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import launched

from .reader import PASSWORD, Reader

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()

WORDS_A_MINUTE = 200
RECONNECTED_MILLISECONDS = 30_000


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel that a user installs, built from this tree."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = (tmp_path / "dist").glob("*.whl")
    return wheel


@pytest.fixture
def reader(wheel: Path, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(TUTORIAL, tmp_path, {"/path/to/holdfast": str(wheel)})
    yield reader
    reader.leave()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(180)  # pip fills an empty environment
def test_from_an_empty_folder_to_a_page_that_changes(reader: Reader, chromium_program: Path) -> None:
    reader.follow("1. Make a project")
    reader.follow("2. Make an order, and say what is live")
    reader.follow("3. Make the page")
    reader.follow("4. See it change")
    assert "live topics at /live/ws" in reader.output_of_server()
    assert "no issues" in reader.run("python manage.py check --database default")
    with launched(chromium_program) as browser, browser.new_context() as context:
        admin = context.new_page()
        admin.goto(reader.url_of("/admin/orders/order/add/"))
        log_in(admin)
        admin.get_by_label("Customer").select_option("ada")
        save(admin)

        page = context.new_page()
        page.goto(reader.url_of("/orders/1/"))
        expect(page.locator("p")).to_contain_text("Your order is placed")
        page.evaluate("window.loadedOnce = true")

        admin.goto(reader.url("/admin/orders/order/1/change/"))
        admin.get_by_label("State").select_option("Shipped")
        save(admin)
        expect(page.locator("#state")).to_have_text("shipped")
        assert answer_of(page, "Cancel it") == "The order is on its way already."

        reader.interrupt_server()
        reader.follow("5. Stop the server")
        expect(page.locator("#state")).to_have_text("delivered", timeout=RECONNECTED_MILLISECONDS)
        assert page.evaluate("window.loadedOnce"), "the page was loaded again"

        context.clear_cookies()
        page.goto(reader.url("/orders/1/"))
        log_in(page)
        expect(page.locator("#state")).to_have_text("delivered")
        reader.interrupt_server()

    reader.follow("6. Test it")
    assert reader.unread == {"Where to go on": []}, "a block that the reader has not carried out"
    assert "Traceback" not in reader.output_of_server()


def log_in(page: Page) -> None:
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("successfully")).to_be_visible()


def answer_of(page: Page, button: str) -> str:
    """Press a button, and return the text of the dialog that it leads to."""
    page.once("dialog", lambda dialog: dialog.dismiss())  # an open dialog stops the click that has led to it
    with page.expect_event("dialog") as dialog:
        page.get_by_role("button", name=button).click()
    return dialog.value.message


def test_it_takes_less_than_ten_minutes_to_read() -> None:
    assert len(TUTORIAL.split()) / WORDS_A_MINUTE < 10
