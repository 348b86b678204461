"""Closes, resets and drops, as a live client sees them."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from holdfast.protocol import codes
from holdfast.testing import CallError, Disconnected, JoinError, Live, LiveClient
from tests.testing.harbour import Room

LOBBY = Room(room="lobby")


async def hang_up(live: Live) -> None:
    for connection in tuple(live.service.connections):
        connection.hang_up(codes.DISCONNECTED)


async def interrupt(live: Live) -> None:
    (await live.service.runtime.hub()).interrupted()


def find_user(token: str) -> User | None:
    return User.objects.filter(username=token).first()


WITH_TOKENS = override_settings(HOLDFAST={"TOKEN_AUTHENTICATOR": "tests.testing.test_endings.find_user"})


def test_the_end_of_the_connection(live: Live, people: Any) -> None:
    ada = live.connect(people["ada"])
    ada.join(LOBBY)
    live.run(hang_up(live))
    with pytest.raises(AssertionError, match="Also: the server closed the connection: 4403 disconnected"):
        ada.expect("message.posted")
    assert ada.expect_closed() == "disconnected"
    with pytest.raises(Disconnected) as raised:
        ada.call(LOBBY, "knock")
    assert raised.value.code == "disconnected"
    ada.resume()
    assert ada.call(LOBBY, "knock") == "ada"


def test_the_server_learns_of_a_drop(live: Live, people: Any) -> None:
    ada = live.connect(people["ada"])
    assert len(live.service.connections) == 1
    ada.drop()
    assert not live.service.connections
    ada.resume()
    assert len(live.service.connections) == 1


def test_an_expected_close_that_does_not_arrive_fails(live: Live, people: Any) -> None:
    ada = live.connect(people["ada"])
    ada.join(LOBBY)
    for expect in (
        ada.expect_closed,
        lambda **o: ada.expect_left(LOBBY, **o),
        lambda **o: ada.expect_reset(LOBBY, **o),
    ):
        with pytest.raises(AssertionError, match=r"ada: no .* arrived within 0.01 s"):
            expect(within=0.01)


def test_a_reset(live: Live, people: Any) -> None:
    ada = live.connect(people["ada"])
    ada.join("inbox/me")
    live.run(interrupt(live))
    assert ada.expect_reset("inbox/me", "interrupted").position is None
    live.run(interrupt(live))
    with pytest.raises(
        AssertionError, match="expected a reset for the reason 'trimmed', but there is a reset of inbox"
    ):
        ada.expect_reset("inbox/me", "trimmed")


@override_settings(HOLDFAST={"WRITE_BUFFER_BYTES": 200})
def test_a_client_that_reads_nothing_is_closed_when_its_buffer_is_full(people: Any) -> None:
    with Live() as live:
        ada = live.connect(people["ada"])
        ada.join("inbox/me")
        ada.stall()
        for _ in range(5):
            live.run(interrupt(live))
        ada.read()
        assert ada.expect_closed() == "stalled"


@WITH_TOKENS
def test_a_token_connects_as_its_user(people: Any) -> None:
    with LiveClient(token="ada") as ada:
        ada.join(LOBBY)
        assert ada.call(LOBBY, "knock") == "ada"


@WITH_TOKENS
def test_an_invalid_token_does_not_connect(people: Any) -> None:
    with pytest.raises(Disconnected, match="unauthenticated"), LiveClient(token="nobody"):
        pass


@WITH_TOKENS
def test_a_resume_that_the_server_refuses_forgets_no_topic(people: Any) -> None:
    with Live() as live:
        ada = live.connect(token="ada")
        ada.join(LOBBY)
        ada.drop()
        User.objects.filter(username="ada").update(username="countess")
        with pytest.raises(Disconnected):
            ada.resume()
        User.objects.filter(username="countess").update(username="ada")
        assert set(ada.resume()) == {LOBBY.name}


def test_a_topic_that_the_user_may_not_join_any_more_costs_no_other_topic(live: Live, people: Any) -> None:
    ada = live.connect(people["ada"])
    ada.join(LOBBY)
    ada.join("radar")
    ada.drop()
    people["ada"].groups.clear()
    with pytest.raises(JoinError):
        ada.resume()
    ada.drop()
    assert set(ada.resume()) == {"radar"}


@pytest.mark.parametrize("action", ["exhaust", "exhaust_in_thread"])
def test_stop_iteration_of_a_handler_is_an_error_of_the_call(live: Live, people: Any, action: str) -> None:
    ada = live.connect(people["ada"])
    ada.join(LOBBY)
    with pytest.raises(CallError) as raised:
        ada.call(LOBBY, action, within=2)
    assert raised.value.code == "internal"


def test_a_client_of_its_own_environment_may_be_closed_before_its_block_ends(people: Any) -> None:
    with LiveClient(people["ada"]) as ada:
        ada.close()
    assert not ada.connected
