"""Reasons of refused tokens: logged for the developer under DEBUG, never sent to a client."""

import logging
from typing import Any

import pytest
from django.core import signing

from holdfast.auth.token import TokenAuthenticator
from holdfast.testing import Disconnected, LiveClient
from tests.transports.test_failed_tokens import scope_of, tries


def find(token: str) -> Any:
    """A function of a project, as the how-to shows it."""
    return None if token == "unknown" else signing.loads(token, salt="live")


@pytest.fixture(autouse=True)
def debug(settings: Any) -> None:
    settings.DEBUG = True
    settings.HOLDFAST = {"TOKEN_AUTHENTICATOR": f"{__name__}.find"}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings that explain, without the notice that each refused handshake is."""
    return [
        record.message
        for record in caplog.records
        if record.levelno == logging.WARNING and not record.name.endswith(".refused")
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("guessed", 'which counts as a no: BadSignature: No ":" found in value'),
        ("unknown", "which counts as a no: the authenticator found no user for it"),
    ],
)
def test_a_refused_token_is_explained_to_the_developer(
    token: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Disconnected, match="unauthenticated"):
        LiveClient(token=token).__enter__()
    assert warnings(caplog) == [f"a token could not be authenticated, {reason}"]


async def test_a_refused_token_of_a_handshake_is_explained_to_the_developer(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    def refuses(token: str) -> Any:
        raise signing.BadSignature("not ours")

    class Refusing(TokenAuthenticator):
        async def authenticate(self, request: Any) -> Any:
            return refuses(request.token)

    assert await tries(Refusing(refuses), scope_of()) == [401]
    assert warnings(caplog) == [
        "the token or ticket of a handshake could not be authenticated, which counts as a no: BadSignature: not ours"
    ]
    settings.DEBUG = False
    caplog.clear()
    assert await tries(Refusing(refuses), scope_of()) == [401]
    assert warnings(caplog) == []
