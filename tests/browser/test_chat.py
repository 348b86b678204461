"""People talk."""

from playwright.sync_api import expect

from tests.browser.conftest import People
from tests.browser.harbor import Harbor


def test_two_people_sign_in_and_talk(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    ada.say("Good morning, Grace.")
    grace.sees("Good morning, Grace.")
    grace.say("Good morning, Ada.")
    ada.sees("Good morning, Ada.")
    assert ada.shown()[-2:] == grace.shown()[-2:]
    expect(ada.pending).to_have_count(0)
    expect(ada.message("Good morning, Grace.")).to_have_count(1)


def test_messages_stand_in_the_order_in_which_they_were_written(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    texts = [f"line {number}" for number in range(25)]
    ada.say_at_once(texts)
    grace.sees(texts[-1])
    assert [body for _, body in grace.shown()][-25:] == texts
    expect(ada.pending).to_have_count(0)
    assert ada.shown() == grace.shown()


def test_what_was_said_is_there_after_a_reload(people: People, harbor: Harbor) -> None:
    ada = people("ada").enter()
    ada.say("Is this kept?")
    ada.sees("Is this kept?")
    expect(ada.pending).to_have_count(0)
    before = ada.shown()
    ada.page.reload()
    ada.is_online()
    assert ada.shown()[-1] == before[-1] == harbor.stored()[-1]


def test_what_people_write_stays_text(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    text = "<img src=x onerror=document.title='taken'> &amp; <b>bold</b>"
    ada.say(text)
    grace.sees(text)
    expect(grace.page.locator(".body img, .body b")).to_have_count(0)
    grace.page.reload()
    grace.sees(text)
    expect(grace.page).to_have_title("Lobby · Harbor")


def test_writing_shows_to_the_others_and_passes(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace")
    grace.page.clock.install()
    grace.enter()
    typing = grace.page.locator("#typing")
    ada.draft.press_sequentially("Let me think")
    expect(typing).to_have_text("ada is typing…")
    expect(ada.page.locator("#typing")).to_have_text("")
    grace.page.clock.fast_forward(6_000)
    expect(typing).to_have_text("")


def test_writing_is_over_when_it_was_sent(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    ada.draft.press_sequentially("Here it is")
    expect(grace.page.locator("#typing")).to_have_text("ada is typing…")
    ada.draft.press("Enter")
    grace.sees("Here it is")
    expect(grace.page.locator("#typing")).to_have_text("", timeout=1_000)


def test_a_message_from_another_process_arrives(people: People, harbor: Harbor) -> None:
    ada = people("ada").enter()
    harbor.manage(
        "shell",
        "-c",
        "from django.db import transaction\n"
        "from django.contrib.auth.models import User\n"
        "from chat import live, models\n"
        "with transaction.atomic():\n"
        "    grace, lobby = User.objects.get(username='grace'), models.Room.objects.get(slug='lobby')\n"
        "    said = models.Message.objects.create(room=lobby, author=grace, body='From the shell')\n"
        "    live.Room(room='lobby').publish(live.MessagePosted(said.pk, 'grace', said.body, said.at))\n",
    )
    ada.sees("From the shell")


def test_another_room_counts_what_is_unread(people: People) -> None:
    ada, grace = people("ada").enter("captains"), people("grace").enter("lobby")
    badge = ada.page.locator("a[data-room='lobby'] .badge")
    expect(badge).to_have_text("1")  # since the seeds
    grace.say("Anybody here?")
    expect(badge).to_have_text("2")
    expect(ada.page.locator("a[data-room='lobby'] .room-last")).to_have_text("grace: Anybody here?")
    expect(ada.message("Anybody here?")).to_have_count(0)
    expect(grace.page.locator("#here")).to_have_accessible_name("Who is here: 1 person")


def test_what_was_read_in_one_tab_is_read_in_the_others(people: People) -> None:
    ada = people("ada").enter("captains")
    badge = ada.page.locator("a[data-room='lobby'] .badge")
    expect(badge).to_have_text("1")
    other = ada.context.new_page()
    other.goto(f"{ada.harbor.url}/rooms/lobby/")
    expect(badge).to_be_hidden(timeout=30_000)
    ada.page.reload()
    expect(badge).to_be_hidden()


def test_addresses_in_a_message_are_links_and_what_was_said_is_found(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    ada.say("Charts: https://example.com/charts, <b>new</b>")
    link = grace.log.get_by_role("link")
    expect(link).to_have_attribute("href", "https://example.com/charts")
    grace.page.get_by_role("searchbox").fill("charts")
    grace.page.get_by_role("searchbox").press("Enter")
    expect(grace.page.locator("mark").first).to_have_text("Charts")


def test_without_javascript_messages_are_posted_by_the_form(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace", java_script_enabled=False)
    grace.sign_in()
    grace.page.goto(f"{grace.harbor.url}/rooms/lobby/")
    grace.draft.first.fill("By form")
    grace.page.get_by_role("button", name="Send").click()
    expect(grace.message("By form")).to_have_count(1)
    ada.sees("By form")


def test_a_user_who_may_not_enter_is_refused_everywhere(people: People) -> None:
    linus, ada = people("linus").enter("lobby"), people("ada").enter("captains")
    expect(linus.page.get_by_role("link", name="Captains")).to_have_count(0)
    answers = linus.page.evaluate(
        """async () => {
            const { connect } = await import("holdfast");
            const live = connect();
            const code = (name) => live.topic(name).ready.then(() => "joined", (error) => error.code);
            return [
                (await fetch("/rooms/captains/")).status,
                (await fetch("/rooms/captains/messages/")).status,
                await code("rooms/captains"),
                await code("rooms/nowhere"),
            ];
        }"""
    )
    assert answers == [404, 404, "forbidden", "forbidden"]
    ada.say("Just between captains")
    ada.sees("Just between captains")
    ada.page.goto(f"{ada.harbor.url}/rooms/lobby/")
    ada.is_online()
    ada.say("And this is for all")
    linus.sees("And this is for all")
    assert "Just between captains" not in str(linus.heard)
    # Chromium notes the two pages that were not found, and that is all that it has to note.
    assert len(linus.complaints) == 2
    assert all("404" in each for each in linus.complaints)
    linus.complaints.clear()


def test_a_member_of_the_room_is_shown_once_whatever_their_number_of_windows(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    second = grace.context.new_page()
    second.goto(grace.page.url)
    here = ada.page.get_by_role("button", name="Who is here")
    expect(here).to_have_accessible_name("Who is here: 2 people")
    here.click()
    names = ada.page.locator("#who li")
    expect(names).to_have_text(["ada (you)", "grace"])
    grace.page.close()
    linus = people("linus").enter()
    expect(names).to_have_text(["ada (you)", "grace", "linus"])
    second.close()
    linus.page.close()
    expect(names).to_have_text(["ada (you)"])
