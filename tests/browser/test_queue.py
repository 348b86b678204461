"""Messages written while the server was away outlive the page that they were written on."""

from playwright.sync_api import WebSocketRoute, expect

from tests.browser.conftest import People
from tests.browser.harbor import Harbor, Person
from tests.browser.test_outage import Network, forgive_outage

STORED = "() => Object.keys(localStorage).filter((name) => name.startsWith('holdfast:call:')).length"


def shared(ada: Person) -> Person:
    """Another tab of the same browser."""
    tab = Person(ada.context, ada.harbor, ada.name)
    tab.page.goto(ada.page.url)
    return tab


def test_a_message_written_during_the_outage_survives_a_reload_and_arrives_once(
    people: People, harbor: Harbor
) -> None:
    ada, grace = people("ada"), people("grace").enter()
    network = Network(ada)
    ada.enter()
    network.cut()
    expect(ada.page.get_by_role("status")).to_have_text("Reconnecting")
    for text in ("Is the pier open?", "And the crane?"):
        ada.say(text)
    ada.page.reload()
    expect(ada.pending).to_have_count(2)
    expect(ada.message("Is the pier open?")).to_contain_text("Waiting for the connection")
    network.mend()
    grace.sees("And the crane?")
    expect(ada.pending).to_have_count(0)
    ada.sees("Is the pier open?")
    assert [body for _, body in harbor.stored()][-2:] == ["Is the pier open?", "And the crane?"]
    assert ada.page.evaluate(STORED) == 0
    forgive_outage(ada)


def test_a_message_survives_the_end_of_its_tab_and_of_the_server(people: People, harbor: Harbor) -> None:
    ada = people("ada").enter()
    harbor.kill()
    expect(ada.page.get_by_role("status")).to_have_text("Reconnecting")
    ada.say("Is the pier open?")
    expect(ada.pending).to_have_count(1)
    url = ada.page.url
    ada.page.close()
    harbor.start()
    ada.page = ada.context.new_page()
    ada.page.goto(url)
    ada.sees("Is the pier open?")
    expect(ada.pending).to_have_count(0)
    assert [body for _, body in harbor.stored()].count("Is the pier open?") == 1
    forgive_outage(ada)


def test_a_message_whose_answer_was_lost_with_the_page_is_said_once(people: People, harbor: Harbor) -> None:
    ada, grace = people("ada"), people("grace").enter()
    lose = True

    def between(browser: WebSocketRoute) -> None:
        server = browser.connect_to_server()
        server.on_message(lambda text: None if lose and '"type":"result"' in text else browser.send(text))

    ada.page.route_web_socket("**/live/ws", between)
    ada.enter()
    ada.say("Did you get this?")
    grace.sees("Did you get this?")
    assert ada.page.evaluate(STORED) == 1
    lose = False
    ada.page.reload()
    ada.is_online()
    ada.page.wait_for_function(STORED.replace(".length", ".length === 0"))
    expect(ada.pending).to_have_count(0)
    ada.sees("Did you get this?")
    assert [body for _, body in harbor.stored()].count("Did you get this?") == 1


def test_two_tabs_send_a_message_once_and_only_that_of_its_own_shows_it_waiting(
    people: People, harbor: Harbor
) -> None:
    ada = people("ada")
    network = Network(ada)
    ada.enter()
    network.cut()
    expect(ada.page.get_by_role("status")).to_have_text("Reconnecting")
    ada.say("Is the pier open?")
    tab = shared(ada)
    tab.is_online()
    expect(tab.pending).to_have_count(0)
    assert [body for _, body in harbor.stored()].count("Is the pier open?") == 0
    ada.page.close()  # and the other tab takes over
    tab.sees("Is the pier open?")
    expect(tab.pending).to_have_count(0)
    assert [body for _, body in harbor.stored()].count("Is the pier open?") == 1
    assert tab.complaints == []
    forgive_outage(ada)
