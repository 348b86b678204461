"""Messages of failed expectations."""

from typing import Any

import pytest
from django.db import transaction

from holdfast.testing import LiveClient
from tests.testing.harbour import Elsewhere, MessagePosted, Room, Typing

LOBBY = Room(room="lobby")


@pytest.fixture
def ada(live: Any, people: Any) -> LiveClient:
    client: LiveClient = live.connect(people["ada"])
    client.join(LOBBY)
    return client


def failure(function: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        function(*args, **options)
    return str(raised.value)


def test_the_message_when_no_event_arrived(ada: LiveClient) -> None:
    assert failure(ada.expect, "message.posted", body="hi", within=0.01) == (
        "ada: no event 'message.posted' on rooms/lobby with body='hi' arrived within 0.01 s.\nNo event has arrived."
    )


def test_the_message_when_another_event_arrived(ada: LiveClient) -> None:
    LOBBY.publish(Typing("grace"), MessagePosted(1, "grace", "ho"), Typing("linus"))
    assert failure(ada.expect, "message.posted", body="hi", id=1) == (
        "ada: the next 'message.posted' is another one: body is 'ho', expected 'hi'.\n"
        "Unread, in the order of arrival:\n"
        '  1. typing on rooms/lobby {"author":"grace"}\n'
        '  2. message.posted on rooms/lobby at 1 {"id":1,"author":"grace","body":"ho","at":null}\n'
        '  3. typing on rooms/lobby {"author":"linus"}'
    )
    assert ada.expect(MessagePosted).body == "ho"  # it stays where it is


def test_the_order_among_events_of_one_name_is_held(ada: LiveClient) -> None:
    LOBBY.publish(MessagePosted(1, "grace", "one"), MessagePosted(2, "grace", "two"))
    assert "id is 1, expected 2" in failure(ada.expect, "message.posted", id=2)


def test_the_message_when_an_event_arrived_where_none_should(ada: LiveClient) -> None:
    LOBBY.publish(MessagePosted(1, "grace", "one"))
    assert failure(ada.expect_nothing).startswith(
        "ada: expected nothing, but there is message.posted on rooms/lobby at 1 {"
    )
    assert "expected no 'message.posted' on rooms/lobby with id=1" in failure(
        ada.expect_nothing, "message.posted", id=1
    )
    ada.expect_nothing("typing")
    ada.expect_nothing("message.posted", id=2)


def test_a_duplicate_event_is_seen(ada: LiveClient) -> None:
    ada._client._transport.stall()  # type: ignore[union-attr]
    LOBBY.publish(MessagePosted(1, "grace", "one"))
    ada._run(_repeat(ada))
    ada.read()
    ada.expect("message.posted", id=1)
    assert "expected nothing, but there is message.posted on rooms/lobby at 1" in failure(ada.expect_nothing)


async def _repeat(client: LiveClient) -> None:
    """Write the same event again, as a broken server would."""
    line = client._client._transport
    assert line is not None
    await client._client._environment.settle()
    line._waiting.append(line._waiting[0])


def test_expected_events_are_counted_in_the_message(ada: LiveClient) -> None:
    LOBBY.publish(MessagePosted(1, "grace", "one"))
    ada.expect("message.posted")
    assert failure(ada.expect, "typing", within=0.01).endswith(
        "No event is unread.\nExpected before: 1 event."
    )


def test_a_name_that_nothing_declares_is_a_mistake_of_the_test(ada: LiveClient) -> None:
    for method in (ada.expect, ada.expect_nothing):
        with pytest.raises(
            ValueError, match=r"'mesage.posted' is declared by none of rooms/lobby; did you mean 'message"
        ):
            method("mesage.posted")
        with pytest.raises(ValueError, match=r"'Elsewhere' is declared by none of rooms/lobby"):
            method(Elsewhere)
        with pytest.raises(
            TypeError, match=r"MessagePosted has no field 'text'; it has id, author, body, at"
        ):
            method("message.posted", text="hi")
        with pytest.raises(ValueError, match=r"ada has not joined rooms/other; it has joined rooms/lobby"):
            method("message.posted", topic="rooms/other")


def test_fields_that_are_named_as_arguments_go_into_the_dict(ada: LiveClient, people: Any) -> None:
    ada.join("inbox/me")
    from tests.testing.harbour import Inbox

    Inbox(me=people["ada"]).publish(Elsewhere("t"))
    assert "topic is 't', expected 'u'" in failure(ada.expect, Elsewhere, {"topic": "u"})
    assert ada.expect(Elsewhere, {"topic": "t"}, topic="inbox/me").topic == "t"


def test_values_may_be_pythons_or_jsons(ada: LiveClient) -> None:
    from datetime import UTC, datetime

    at = datetime(2024, 5, 6, tzinfo=UTC)
    LOBBY.publish(MessagePosted(1, "grace", "one", at), MessagePosted(2, "grace", "two", at))
    assert ada.expect(MessagePosted, at=at).at == at
    ada.expect(MessagePosted, at="2024-05-06T00:00:00Z")


def test_an_open_transaction_is_pointed_out(ada: LiveClient) -> None:
    with transaction.atomic():
        LOBBY.publish(MessagePosted(1, "grace", "one"))
        assert "has a transaction.atomic() open" in failure(ada.expect, "message.posted", within=0.01)


def test_a_client_that_joined_nothing_cannot_expect(live: Any, people: Any) -> None:
    with pytest.raises(ValueError, match="linus has joined no topic"):
        live.connect(people["linus"]).expect("message.posted")


def test_a_client_that_was_not_opened_says_so(people: Any) -> None:
    with pytest.raises(RuntimeError, match="linus has not been opened: use it in a with block"):
        LiveClient(people["linus"]).join("rooms/lobby")
