"""The page itself: history, scrolling, the keyboard, a phone."""

import json
from typing import Any

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.conftest import People
from tests.browser.harbor import Harbor, Person

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SMALLEST = {"viewport": {"width": 320, "height": 568}, "is_mobile": True, "has_touch": True}


def scroll_to(person: Person, top: int) -> None:
    person.log.evaluate("(log, top) => { log.scrollTop = top; }", top)


def top_of(person: Person, id_: int) -> float:
    box = person.page.locator(f".message[data-id='{id_}']").bounding_box()
    assert box is not None
    return box["y"]


def at_the_end(person: Person) -> bool:
    return bool(person.log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 3"))


def test_a_room_opens_at_its_newest_message(people: People, harbor: Harbor) -> None:
    ada = people("ada").enter()
    assert at_the_end(ada)
    assert ada.shown() == harbor.stored()[-50:]
    expect(ada.page.locator(".message").last).to_be_in_viewport()


def test_older_messages_come_on_scrolling_up_and_nothing_jumps(people: People, harbor: Harbor) -> None:
    ada = people("ada").enter()
    oldest = ada.shown()[0][0]
    ada.page.route("**/messages/**", lambda route: held.append(route))
    held: list[Any] = []
    scroll_to(ada, 0)
    ada.wait_for(lambda: bool(held), "older messages to be asked for")
    before = top_of(ada, oldest)
    for route in held:
        route.continue_()
    ada.wait_for(lambda: len(ada.shown()) > 50, "older messages")
    assert abs(top_of(ada, oldest) - before) < 2
    assert ada.shown() == harbor.stored()
    expect(ada.page.get_by_text("This is where Lobby begins.")).to_be_attached()
    assert len(held) == 1


def test_a_failure_to_fetch_older_messages_is_said_and_can_be_tried_again(people: People) -> None:
    ada = people("ada").enter()
    ada.page.route("**/messages/**", lambda route: route.abort())
    scroll_to(ada, 0)
    again = ada.page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    ada.page.unroute("**/messages/**")
    again.click()
    ada.wait_for(lambda: len(ada.shown()) > 50, "older messages")
    assert all("ERR_FAILED" in each for each in ada.complaints)
    ada.complaints.clear()


def test_a_reader_of_older_messages_is_left_alone_and_told_of_new_ones(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    jump = ada.page.locator("#jump")
    expect(jump).to_be_hidden()
    scroll_to(ada, 0)
    ada.wait_for(lambda: len(ada.shown()) > 50, "older messages")
    expect(jump).to_have_text("Latest")
    reading = ada.shown()[30][0]
    before = top_of(ada, reading)
    grace.say("News")
    expect(jump).to_have_text("1 new message")
    expect(ada.page).to_have_title("(1) Lobby · Harbor")
    assert top_of(ada, reading) == before
    jump.click()
    ada.wait_for(lambda: at_the_end(ada), "the end")
    expect(jump).to_be_hidden()
    expect(ada.page).to_have_title("Lobby · Harbor")


def test_a_reader_at_the_end_stays_there(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    for number in range(10):
        grace.say(f"news {number}\nof two lines")
    ada.wait_for(lambda: ada.shown()[-1][1].startswith("news 9"), "the last")
    ada.wait_for(lambda: at_the_end(ada), "the end")
    expect(ada.page.locator("#jump")).to_be_hidden()


def test_messages_of_one_author_are_grouped_and_days_are_named(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    grace.say("first of mine")
    grace.say("second of mine")
    ada.sees("second of mine")
    expect(ada.message("first of mine").locator(".author")).to_be_visible()
    expect(ada.message("second of mine").locator(".author")).to_be_hidden()
    expect(ada.page.locator(".day").last).to_have_text("Today")
    ada.page.reload()
    expect(ada.page.locator(".day").last).to_have_text("Today")
    expect(ada.message("second of mine").locator(".author")).to_be_hidden()


def test_a_message_that_was_refused_says_so_and_can_be_sent_again(people: People) -> None:
    ada, grace = people("ada"), people("grace").enter()
    refuse = True

    def between(browser_side: WebSocketRoute) -> None:
        server_side = browser_side.connect_to_server()

        def from_browser(text: str | bytes) -> None:
            message = json.loads(text)
            if refuse and message["type"] == "call" and message["name"] == "post":
                error = {"code": "internal", "message": "…"}
                browser_side.send(json.dumps({"type": "error", "ref": message["ref"], "payload": error}))
            else:
                server_side.send(text)

        browser_side.on_message(from_browser)

    ada.page.route_web_socket("**/live/ws", between)
    ada.enter()
    ada.say("Does this work?")
    expect(ada.pending).to_contain_text("Not sent.")
    ada.say("And this?")
    expect(ada.pending.filter(has_text="Not sent.")).to_have_count(2)
    ada.pending.last.get_by_role("button", name="Discard").click()
    expect(ada.pending).to_have_count(1)
    refuse = False
    ada.pending.get_by_role("button", name="Send again").click()
    grace.sees("Does this work?")
    expect(ada.pending).to_have_count(0)
    ada.sees("Does this work?")
    expect(grace.message("And this?")).to_have_count(0)


def test_a_message_is_shown_once_also_when_its_answer_overtakes_its_event(people: People) -> None:
    ada = people("ada")
    held: list[str | bytes] = []
    release = False

    def between(browser_side: WebSocketRoute) -> None:
        server_side = browser_side.connect_to_server()

        def from_server(text: str | bytes) -> None:
            if json.loads(text).get("name") == "message.posted" and not release:
                held.append(text)
            else:
                browser_side.send(text)

        server_side.on_message(from_server)
        routes.append(browser_side)

    routes: list[WebSocketRoute] = []
    ada.page.route_web_socket("**/live/ws", between)
    ada.enter()
    ada.say("Twice?")
    ada.say("Twice?")
    ada.wait_for(lambda: len(ada.acknowledged()) == 2 and len(held) == 2, "the answers")
    expect(ada.message("Twice?")).to_have_count(2)
    expect(ada.pending).to_have_count(2)
    release = True
    for text in held:
        routes[-1].send(text)
    expect(ada.pending).to_have_count(0)
    expect(ada.message("Twice?")).to_have_count(2)
    assert [id_ for id_, _ in ada.shown()[-2:]] == ada.acknowledged()


def test_a_draft_survives_a_reload(people: People) -> None:
    ada = people("ada").enter()
    ada.draft.fill("Not finished")
    ada.page.reload()
    expect(ada.draft).to_have_value("Not finished")
    ada.draft.press("Enter")
    ada.sees("Not finished")
    expect(ada.pending).to_have_count(0)
    ada.page.reload()
    expect(ada.draft).to_have_value("")


def from_the_top(person: Person) -> None:
    """Let the next Tab start at the top of the page, and not in the composer."""
    person.page.evaluate(
        "document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')"
    )


def test_everything_works_by_keyboard(people: People) -> None:
    ada = people("ada")
    keyboard = ada.page.keyboard
    ada.page.goto(f"{ada.harbor.url}/login/")
    keyboard.type("ada")
    keyboard.press("Tab")
    keyboard.type("holdfast")
    keyboard.press("Enter")
    expect(ada.page).to_have_url(f"{ada.harbor.url}/")
    lobby = ada.page.get_by_role("link", name="Lobby")
    for _ in range(20):
        keyboard.press("Tab")
        if lobby.evaluate("link => link === document.activeElement"):
            break
    keyboard.press("Enter")
    ada.is_online()
    expect(ada.draft).to_be_focused()
    from_the_top(ada)
    keyboard.press("Tab")
    expect(ada.page.get_by_role("link", name="Skip to writing a message")).to_be_focused()
    expect(ada.page.get_by_role("link", name="Skip to writing a message")).to_be_in_viewport()
    keyboard.press("Enter")
    expect(ada.draft).to_be_focused()
    keyboard.type("one line")
    keyboard.press("Shift+Enter")
    keyboard.type("and another")
    expect(ada.draft).to_have_value("one line\nand another")
    keyboard.press("Enter")
    expect(ada.draft).to_have_value("")
    expect(ada.draft).to_be_focused()
    ada.wait_for(lambda: ada.shown()[-1][1] == "one line\nand another", "the message")
    keyboard.press("Shift+Tab")
    expect(ada.log).to_be_focused()
    keyboard.press("Home")
    ada.wait_for(lambda: len(ada.shown()) > 51, "older messages")


def test_whatever_has_the_focus_shows_it(people: People) -> None:
    ada = people("ada").enter()
    from_the_top(ada)
    seen = []
    for _ in range(30):
        ada.page.keyboard.press("Tab")
        stop = ada.page.evaluate(
            """() => { const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                return [document.activeElement.outerHTML.slice(0, 80), outlineStyle, parseFloat(outlineWidth)]; }"""
        )
        if stop[0].startswith("<body"):
            break
        seen.append(stop)
    assert len(seen) >= 6
    assert all(style == "solid" and width >= 2 for _, style, width in seen), seen


@pytest.mark.parametrize("device", [PHONE, SMALLEST], ids=["phone", "smallest"])
def test_nothing_is_wider_than_a_phone(people: People, browser: Any, device: dict[str, Any]) -> None:
    ada = people("ada", **device)
    ada.page.goto(f"{ada.harbor.url}/login/")
    assert width_fits(ada)
    ada.sign_in()
    assert width_fits(ada)
    assert small_targets(ada) == []
    ada.page.get_by_role("link", name="Lobby").tap()
    ada.is_online()
    ada.say("Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch" * 3)
    expect(ada.pending).to_have_count(0)
    assert width_fits(ada)
    assert small_targets(ada) == []
    expect(ada.draft).to_be_in_viewport(ratio=1)
    ada.page.get_by_role("link", name="All rooms").tap()
    expect(ada.page).to_have_url(f"{ada.harbor.url}/")


def width_fits(person: Person) -> bool:
    return bool(
        person.page.evaluate(
            """() => document.documentElement.scrollWidth <= innerWidth
                && Array.from(document.querySelectorAll("#log, .rooms-list"))
                    .every((each) => each.scrollWidth <= each.clientWidth)"""
        )
    )


def small_targets(person: Person) -> list[str]:
    """Return the controls that are smaller than 44 by 44 pixels."""
    found: list[str] = person.page.evaluate(
        """() => Array.from(document.querySelectorAll("a, button, textarea, input:not([type=hidden])"))
            .filter((each) => each.checkVisibility() && !each.classList.contains("skip"))
            .filter((each) => { const { width, height } = each.getBoundingClientRect();
                                return width < 44 || height < 44; })
            .map((each) => each.outerHTML.slice(0, 80))"""
    )
    return found
