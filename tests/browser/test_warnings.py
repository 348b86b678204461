"""Warnings that the client writes to the console of a page in development."""

from tests.browser.conftest import People

LEASE = """(name) => import("holdfast").then(({ connect }) => {
    window.lease = connect().lease(name);
    lease.on("mesage.posted", () => undefined);
    lease.on("message.posted", () => undefined);
})"""


def test_the_console_names_a_handler_whose_event_the_topic_does_not_declare(people: People) -> None:
    ada = people("ada").enter()
    with ada.page.expect_console_message(lambda message: message.type == "warning") as warning:
        ada.page.evaluate(LEASE, "rooms/lobby")
    assert warning.value.text.startswith('Holdfast: "rooms/lobby" has no event "mesage.posted", only [')
    assert "message.posted" in warning.value.args[1].json_value()
    assert len(ada.complaints) == 1, "the name that the topic declares is not on the console"
    ada.complaints.clear()


def test_the_console_names_a_refused_topic_that_nothing_on_the_page_listens_to(people: People) -> None:
    ada = people("ada").enter()
    with ada.page.expect_console_message(lambda message: message.type == "warning") as warning:
        ada.page.evaluate(LEASE, "rooms/no-such-room")
    assert warning.value.text.startswith(
        'Holdfast: "rooms/no-such-room" was refused; see lifecycle.on("refused") LiveError: '
    )
    assert ada.page.evaluate("[lease.status, lease.state.error.code]") == ["refused", "forbidden"]
    assert len(ada.complaints) == 1
    ada.complaints.clear()
