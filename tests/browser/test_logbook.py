"""Comments from an ordinary form: without JavaScript, and alive with it."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person


def reading(person: Person) -> Page:
    person.sign_in()
    person.page.goto(f"{person.harbor.url}/logbook/")
    person.page.get_by_role("link", name="The night of the gale").click()
    return person.page


def alive(person: Person) -> Page:
    page = reading(person)
    expect(page.locator("live-topic")).to_have_attribute("status", "joined", timeout=40_000)
    return page


def comment(page: Page, text: str) -> Locator:
    page.get_by_label("Your comment").fill(text)
    page.get_by_role("button", name="Comment").click()
    shown = page.locator(".comment", has_text=text)
    expect(shown).to_have_count(1)
    return shown


def test_a_comment_appears_changes_and_goes_on_the_page_of_another(people: People) -> None:
    grace, ada = people("grace"), people("ada")
    hers, other = alive(grace), alive(ada)
    draft = other.get_by_label("Your comment")
    draft.fill("I was about to")
    own = comment(hers, "It was louder than that")
    seen = other.locator(".comment", has_text="It was louder than that")
    expect(seen).to_have_count(1)
    expect(other.locator("#count")).to_have_text("3 comments")
    expect(seen.get_by_role("link")).to_be_hidden()
    own.get_by_role("link", name="Change").click()
    hers.get_by_label("Your comment").fill("It was even louder")
    hers.get_by_role("button", name="Save").click()
    expect(other.locator(".comment", has_text="It was even louder")).to_contain_text("edited")
    expect(draft).to_be_focused()
    expect(draft).to_have_value("I was about to")
    hers.locator(".comment", has_text="even louder").get_by_role("link", name="Change").click()
    hers.get_by_role("button", name="Delete it").click()
    expect(other.locator("#count")).to_have_text("2 comments")
    expect(other.locator(".comment", has_text="louder")).to_have_count(0)


def test_without_javascript_it_is_an_ordinary_form(people: People) -> None:
    grace, ada = people("grace", java_script_enabled=False), people("ada")
    other = alive(ada)
    page = reading(grace)
    comment(page, "By form alone")
    expect(page).to_have_url(re.compile(r"#comment-\d+$"))
    expect(other.locator(".comment", has_text="By form alone")).to_have_count(1)


def test_what_was_written_while_the_server_was_gone_is_shown_once(people: People, harbor: Harbor) -> None:
    ada = people("ada")
    page = alive(ada)
    harbor.kill()
    expect(ada.status).to_contain_text("Reconnecting", timeout=30_000)
    harbor.manage(
        "shell",
        "-c",
        "from logbook.models import *\n"
        "from django.contrib.auth.models import User\n"
        "entry = Entry.objects.get(title='The night of the gale')\n"
        "Comment.objects.create(entry=entry, author=User.objects.get(username='grace'), body='From the shell')\n",
    )
    harbor.start()
    expect(page.locator(".comment", has_text="From the shell")).to_have_count(1, timeout=60_000)
    expect(page.locator("#count")).to_have_text("3 comments")
    ada.complaints = [each for each in ada.complaints if not any(known in each for known in AWAY)]
