"""The server goes away and comes back."""

import json
import re

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person


def forgive_outage(*people: Person) -> None:
    for person in people:
        person.complaints = [each for each in person.complaints if not any(known in each for known in AWAY)]


def test_the_connection_state_is_visible(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    grace.draft.press_sequentially("But")
    expect(ada.page.locator("#typing")).to_have_text("grace is typing…")
    notice = ada.page.locator("#notice")
    expect(notice).to_be_hidden()
    harbor.kill()
    expect(ada.page.get_by_role("status")).to_have_text("Reconnecting")
    expect(ada.page.locator(".status-count")).to_contain_text(" s")
    expect(notice).to_contain_text("What you write waits")
    expect(ada.page.locator("#typing")).to_have_text("", timeout=1_000)
    harbor.start()
    ada.is_online()
    expect(notice).to_be_hidden()
    forgive_outage(ada, grace)


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
    for person in (ada, grace):
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


def test_a_message_whose_answer_was_lost_is_sent_again_and_said_once(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada"), people("grace").enter()
    lost: list[str] = []

    def between(browser: WebSocketRoute) -> None:
        server = browser.connect_to_server()

        def from_server(text: str | bytes) -> None:
            frame = json.loads(text)
            if not lost and frame["type"] in {"result", "event"}:
                lost.append(frame["type"])
                browser.close(code=1012)
                server.close(code=1012)
            else:
                browser.send(text)

        server.on_message(from_server)

    ada.page.route_web_socket("**/live/ws", between)
    ada.enter()
    ada.say("Did you get this?")
    grace.sees("Did you get this?")
    ada.wait_for(lambda: bool(lost), "the answer to be lost")
    expect(ada.pending).to_have_count(0)
    ada.is_online()
    ada.say("And this?")
    grace.sees("And this?")
    expect(ada.pending).to_have_count(0)
    assert [body for _, body in harbor.stored()][-2:] == ["Did you get this?", "And this?"]
    assert ada.shown() == grace.shown() == harbor.stored()[-52:]


def test_a_user_whose_network_was_away_gets_the_missed_messages(people: People) -> None:
    ada, grace = people("ada").enter(), people("grace")
    network = Network(grace)
    grace.enter()
    network.cut()
    expect(grace.page.get_by_role("status")).to_have_text("Reconnecting")
    missed = [f"missed {number}" for number in range(120)]
    ada.say_at_once(missed)
    expect(ada.pending).to_have_count(0)
    assert len(grace.shown()) == 50
    network.mend()
    grace.sees(missed[-1])
    assert [body for _, body in grace.shown()][-120:] == missed
    assert len(grace.shown()) == 170
    forgive_outage(grace)


@pytest.mark.parametrize("count", [5, 80], ids=["less than a page", "more than a page"])
def test_when_the_log_has_forgotten_what_was_missed_the_page_has_no_hole(
    people: People, harbor: Harbor, count: int
) -> None:
    ada, grace = people("ada").enter(), people("grace")
    network = Network(grace)
    grace.enter()
    network.cut()
    expect(grace.page.get_by_role("status")).to_have_text("Reconnecting")
    missed = [f"missed {number}" for number in range(count)]
    ada.say_at_once(missed)
    expect(ada.pending).to_have_count(0)
    harbor.manage(
        "shell",
        "-c",
        "from holdfast import runtime; runtime.current().log.trim('rooms/lobby', count=2)",
    )
    harbor.kill()  # or it would have the newest events in memory
    harbor.start()
    network.mend()
    grace.sees(missed[-1])
    ada.is_online()
    ada.say("And on it goes")
    grace.sees("And on it goes")
    shown = grace.shown()
    assert shown == harbor.stored()[-len(shown) :]
    grace.log.evaluate("log => { log.scrollTop = 0; }")
    grace.wait_for(lambda: len(grace.shown()) > len(shown), "older messages")
    shown = grace.shown()
    assert shown == harbor.stored()[-len(shown) :]
    forgive_outage(ada, grace)


class Network:
    """The way between one person's browser and the server, which can be cut."""

    def __init__(self, person: Person) -> None:
        self._cut = False
        self._open: list[tuple[WebSocketRoute, WebSocketRoute]] = []
        person.page.route_web_socket("**/live/ws", self._connect)
        # Where no WebSocket gets through, the client asks by HTTP.
        person.page.route("**/live/*", self._request)

    def cut(self) -> None:
        self._cut = True
        for ends in self._open:
            for end in ends:
                end.close(code=1012)
        self._open.clear()

    def mend(self) -> None:
        self._cut = False

    def _connect(self, browser: WebSocketRoute) -> None:
        if self._cut:
            browser.close(code=1013)
        else:
            self._open.append((browser, browser.connect_to_server()))

    def _request(self, route: Route) -> None:
        if self._cut:
            route.abort()
        else:
            route.continue_()


def test_those_in_the_room_stay_shown_while_the_connection_is_away(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    here = ada.page.get_by_role("button", name="Who is here")
    expect(here).to_have_accessible_name("Who is here: 2 people")
    harbor.kill()
    expect(here).to_have_class(re.compile("stale"))
    expect(here).to_have_accessible_name("Who is here: 2 people")
    harbor.start()
    ada.is_online()
    grace.is_online()
    expect(here).not_to_have_class(re.compile("stale"))
    expect(here).to_have_accessible_name("Who is here: 2 people")
    forgive_outage(ada, grace)


def test_what_was_said_while_a_reader_was_away_is_shown_as_such(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada").enter(), people("grace").enter()
    ada.context.set_offline(True)
    ada.page.evaluate("async () => (await import('holdfast')).connect().reconnect()")
    expect(ada.status).not_to_have_text("Online", timeout=60_000)
    grace.say("Said in the meantime")
    grace.sees("Said in the meantime")
    ada.context.set_offline(False)
    ada.sees("Said in the meantime")
    expect(ada.page.locator(".gap")).to_have_text("While you were away")
    ada.complaints.clear()
