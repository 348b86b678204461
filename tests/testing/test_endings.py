"""Closes, resets and drops, as a live client sees them."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from holdfast.protocol import codes
from holdfast.testing import Disconnected, Live, LiveClient
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
