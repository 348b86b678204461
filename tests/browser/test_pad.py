"""Two people who write one pad at once, while their connections fail."""

import re

import pytest
from playwright.sync_api import Locator, WebSocketRoute, expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person
from tests.browser.relay import relay


def opened(person: Person, pad: str = "open-harbour", at: str = "") -> Locator:
    """Sign in and open a pad. Its textarea, once it can be written in."""
    person.sign_in()
    person.page.goto(f"{at or person.harbor.url}/pads/{pad}/")
    area = person.page.get_by_role("textbox")
    expect(person.page.locator("#saved")).to_have_text("Saved", timeout=20_000)
    return area


def append(area: Locator, text: str) -> None:
    area.press("Control+End")
    area.press_sequentially(text, delay=5)


def forgive_outage(*people: Person) -> None:
    for person in people:
        person.complaints = [each for each in person.complaints if not any(known in each for known in AWAY)]


def saved(*people: Person) -> None:
    for person in people:
        expect(person.page.locator("#saved")).to_have_text("Saved", timeout=40_000)


def test_two_people_write_at_once_and_see_each_others_cursor(people: People) -> None:
    ada, grace = people("ada"), people("grace")
    one, other = opened(ada), opened(grace)
    expect(ada.page.locator("#writers")).to_have_text("grace")
    one.press("Control+Home")
    for letter in "AAAA ":
        one.press(letter)
        append(other, "b")
    saved(ada, grace)
    expect(other).to_have_value(re.compile(r"^AAAA Open harbour, Saturday"))
    expect(one).to_have_value(re.compile(r"bbbbb$"))
    assert one.input_value() == other.input_value()
    expect(ada.page.locator("#mirror i")).to_have_attribute("data-name", "grace")
    other.press("Control+Home")
    other.press("Shift+End")
    expect(ada.page.locator("#mirror mark")).to_have_text("AAAA Open harbour, Saturday")
    grace.page.close()
    expect(ada.page.locator("#mirror i")).to_have_count(0)
    expect(ada.page.locator("#writers li")).to_have_count(0)


@pytest.mark.timeout(120)
def test_what_is_written_while_the_server_is_down_is_merged(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada"), people("grace")
    one, other = opened(ada), opened(grace)
    append(one, "before. ")
    saved(ada)
    harbor.kill()
    for person in (ada, grace):
        expect(person.page.get_by_role("status").first).to_have_text("Reconnecting")
    append(one, "by ada. ")
    append(other, "by grace. ")
    expect(ada.page.locator("#saved")).to_have_text("Not saved yet: it waits for the connection.")
    harbor.start()
    saved(ada, grace)
    expect(one).to_have_value(re.compile("by grace"))
    expect(other).to_have_value(re.compile("by ada"))
    assert one.input_value() == other.input_value()
    grace.page.reload()
    saved(grace)
    expect(grace.page.get_by_role("textbox")).to_have_value(one.input_value())
    forgive_outage(ada, grace)


@pytest.mark.timeout(120)
def test_an_editor_that_was_offline_for_a_while_ends_with_the_same_text(
    people: People, harbor: Harbor
) -> None:
    ada, grace = people("ada"), people("grace")
    with relay(harbor.port) as line:
        one, other = opened(ada), opened(grace, at=line.url)
        line.freeze()
        append(other, "written on a dead line. ")
        append(one, "written in the harbor. ")
        saved(ada)
        grace.page.evaluate("dispatchEvent(new Event('offline'))")
        saved(grace)
        expect(one).to_have_value(re.compile("dead line"))
        expect(other).to_have_value(one.input_value())
    forgive_outage(ada, grace)


def test_a_pad_can_be_written_in_before_the_page_is_connected(people: People, harbor: Harbor) -> None:
    ada = people("ada")
    ada.sign_in()
    answers = False

    def open_socket(socket: WebSocketRoute) -> None:
        if answers:
            socket.connect_to_server()

    ada.page.route_web_socket(re.compile("/live/ws"), open_socket)
    ada.page.goto(f"{harbor.url}/pads/open-harbour/")
    area = ada.page.get_by_role("textbox")
    append(area, "written early")
    expect(area).to_have_value(re.compile("^Open harbour, Saturday.*written early$", re.DOTALL))
    expect(ada.page.locator("#saved")).to_have_text("Not saved yet: it waits for the connection.")
    answers = True
    ada.page.evaluate("dispatchEvent(new Event('offline'))")  # the client looks for another connection
    saved(ada)
    ada.page.reload()
    expect(area).to_have_value(re.compile("^Open harbour, Saturday.*written early$", re.DOTALL))


def test_undo_takes_back_only_what_oneself_wrote(people: People) -> None:
    ada, grace = people("ada"), people("grace")
    one, other = opened(ada), opened(grace)
    append(one, "mine")
    expect(other).to_have_value(re.compile("mine$"))  # written at once, the two would be in either order
    append(other, " theirs")
    expect(one).to_have_value(re.compile("mine theirs$"))
    one.press("Control+z")
    expect(other).to_have_value(re.compile(r"[^e] theirs$"))
    one.press("Control+Shift+z")
    expect(other).to_have_value(re.compile("mine theirs$"))


def test_a_user_who_may_not_write_reads_along(people: People) -> None:
    ada, linus = people("ada"), people("linus")
    one = opened(ada, "storm-plan")
    linus.sign_in()
    linus.page.goto(f"{linus.harbor.url}/pads/storm-plan/")
    reading = linus.page.get_by_role("textbox")
    append(one, "Linus: that means you.")
    expect(reading).to_have_value(re.compile("that means you"))
    expect(reading).not_to_be_editable()
    expect(linus.page.locator("#saved")).to_contain_text("You may read this pad")


@pytest.mark.timeout(120)
def test_a_page_of_many_kilobytes_is_pasted_and_saved(people: People) -> None:
    ada, grace = people("ada"), people("grace")
    one, other = opened(ada), opened(grace)
    one.press("Control+End")
    ada.page.evaluate("document.execCommand('insertText', false, 'tide and time '.repeat(6_000))")
    saved(ada)
    expect(other).to_have_value(one.input_value(), timeout=20_000)
    assert len(other.input_value()) > 80_000


def test_without_a_script_the_text_can_be_read(people: People) -> None:
    ada = people("ada", java_script_enabled=False)
    ada.page.goto(f"{ada.harbor.url}/login/?next=/pads/open-harbour/")
    ada.page.get_by_label("Name").fill("ada")
    ada.page.get_by_label("Password").fill("holdfast")
    ada.page.get_by_role("button", name="Come aboard").click()
    expect(ada.page.get_by_role("textbox")).to_have_value(re.compile("Gates open"))
    # `expect` passes over <noscript>.
    assert "Writing needs JavaScript" in ada.page.locator("#saved").inner_text()
