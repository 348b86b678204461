"""The server goes away and comes back."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person


def forgive_outage(*people: Person) -> None:
    for person in people:
        person.complaints = [each for each in person.complaints if not any(known in each for known in AWAY)]


def test_the_connection_state_is_visible(people: People, harbor: Harbor) -> None:
    ada = people("ada").enter()
    notice = ada.page.locator("#notice")
    expect(notice).to_be_hidden()
    harbor.kill()
    expect(ada.page.get_by_role("status")).to_have_text("Reconnecting")
    expect(ada.page.locator(".status-count")).to_contain_text(" s")
    expect(notice).to_contain_text("What you write waits")
    harbor.start()
    ada.is_online()
    expect(notice).to_be_hidden()
    forgive_outage(ada)


def test_a_message_written_during_the_outage_waits_and_arrives_once(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    harbor.kill()
    expect(ada.page.get_by_role("status")).to_have_text("Reconnecting")
    ada.say("Is anybody there?")
    expect(ada.pending).to_contain_text("Waiting for the connection")
    harbor.start()
    grace.sees("Is anybody there?")
    expect(ada.pending).to_have_count(0)
    ada.sees("Is anybody there?")
    assert [body for _, body in harbor.stored()].count("Is anybody there?") == 1
    assert ada.shown()[-1] == grace.shown()[-1] == harbor.stored()[-1]
    forgive_outage(ada, grace)


@pytest.mark.timeout(180)
def test_nothing_is_lost_doubled_or_reordered_when_the_server_is_killed_again_and_again(
    people: People, harbor: Harbor
) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    before = len(harbor.stored())
    lines = {name: [f"{name} {number}" for number in range(60)] for name in ("ada", "grace")}
    ada.say_at_once(lines["ada"])
    grace.say_at_once(lines["grace"])
    for arrived in (3, 30, 70):
        grace.wait_for(
            lambda arrived=arrived: len(grace.shown()) >= 50 + arrived, f"{arrived} messages", seconds=40
        )
        harbor.kill()
        assert ada.pending.count() + grace.pending.count() > 0, (
            "the server was killed too late to mean anything"
        )
        for person in (ada, grace):
            expect(person.page.get_by_role("status")).to_have_text("Reconnecting")
        if arrived == 30:
            ada.say("ada, while it was away")
        harbor.start()
    for person in (ada, grace):
        expect(person.pending).to_have_count(0, timeout=60_000)
        person.wait_for(lambda person=person: len(person.shown()) >= 50 + 121, "everything to be shown")

    stored = harbor.stored()[before:]
    bodies = [body for _, body in stored]
    assert sorted(bodies) == sorted([*lines["ada"], *lines["grace"], "ada, while it was away"])
    assert [body for body in bodies if body in lines["ada"]] == lines["ada"]
    assert [body for body in bodies if body in lines["grace"]] == lines["grace"]
    for person in (ada, grace):
        assert person.shown()[-len(stored) :] == stored
        assert set(person.acknowledged()) <= {id_ for id_, _ in stored}
    assert len(ada.acknowledged()) == 61
    forgive_outage(ada, grace)


def test_somebody_who_was_away_for_long_sees_what_the_others_said(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    grace.page.evaluate("window.stop(); 0")
    grace.page.goto("about:blank")
    texts = [f"missed {number}" for number in range(30)]
    ada.say_at_once(texts)
    expect(ada.pending).to_have_count(0)
    grace.page.go_back()
    grace.is_online()
    grace.wait_for(lambda: len(grace.shown()) >= 50, "the messages")
    grace.sees(texts[-1])
    assert [body for _, body in grace.shown()][-30:] == texts
