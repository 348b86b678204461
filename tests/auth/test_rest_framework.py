"""Tokens of Django REST framework and of SimpleJWT, with the real packages."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from rest_framework.authtoken.models import Token
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from holdfast import runtime
from holdfast.auth.base import AuthRequest, CredentialExpired, Identity
from holdfast.auth.rest_framework import RestFrameworkAuthenticator, SimpleJwtAuthenticator
from holdfast.conf import read
from holdfast.control.commands import Recheck
from holdfast.threads.threads import Threads
from holdfast.topics.failures import Verdict, verdict_of
from holdfast.wiring import build_authenticator

pytestmark = pytest.mark.django_db(transaction=True, databases=["default"])


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made = Threads(2)
    orders: list[Any] = []
    control = SimpleNamespace(issue_with_retry=orders.append)
    current = SimpleNamespace(
        threads=made,
        session_threads=made,
        control=control,
        log=SimpleNamespace(alias="default"),
        orders=orders,
    )
    monkeypatch.setattr(runtime, "current", lambda: current)
    yield
    made.close()


@pytest.fixture
def ada() -> Any:
    return get_user_model().objects.create_user("ada", password="x")


def identity(authenticator: Any, token: str, scheme: str | None = None) -> Identity | None:
    async def authenticate() -> Any:
        return await authenticator.authenticate(AuthRequest(token=token, scheme=scheme))

    found: Identity | None = asyncio.run(authenticate())
    return found


def refused(authenticator: Any, token: str) -> bool:
    outcome: Any
    try:
        outcome = identity(authenticator, token)
    except Exception as error:
        outcome = error
    return outcome is None or verdict_of(outcome) is Verdict.DENIED


def now(authenticator: Any, found: Identity) -> Any:
    async def revalidate() -> Any:
        (answer,) = await authenticator.revalidate([found])
        return answer

    return asyncio.run(revalidate())


def test_a_token_of_rest_framework(ada: Any) -> None:
    authenticator = RestFrameworkAuthenticator()
    token = Token.objects.create(user=ada)
    found = identity(authenticator, token.key)
    assert found is not None
    assert found.user == ada
    assert token.key not in repr(found)
    for bad in ("x", "x" * 8000, "", "a b", "\0", "\ud83d", "\u00e4"):
        assert refused(authenticator, bad)


def test_a_deleted_token_ends_the_connection_at_once(ada: Any) -> None:
    authenticator = RestFrameworkAuthenticator()
    token = Token.objects.create(user=ada)
    found = identity(authenticator, token.key)
    assert found is not None
    assert now(authenticator, found).user == ada
    token.delete()
    current: Any = runtime.current()
    (order,) = current.orders
    assert isinstance(order, Recheck)
    assert order.owners == (f"user:{ada.pk}",)
    assert now(authenticator, found) is None


def test_a_user_who_was_deactivated_has_no_valid_token(ada: Any) -> None:
    authenticator = RestFrameworkAuthenticator()
    token = Token.objects.create(user=ada)
    found = identity(authenticator, token.key)
    assert found is not None
    get_user_model().objects.update(is_active=False)
    assert refused(authenticator, token.key)
    assert now(authenticator, found) is None


def test_a_token_of_simplejwt(ada: Any) -> None:
    authenticator = SimpleJwtAuthenticator()
    token = AccessToken.for_user(ada)
    token["scope"] = "read"
    found = identity(authenticator, str(token))
    assert found is not None
    assert (found.user, found.claims["scope"]) == (ada, "read")
    assert found.seconds_left is not None
    assert 200 < found.seconds_left <= 300, "SimpleJWT's own default lifetime"
    assert now(authenticator, found).user == ada


def test_an_expired_token_of_simplejwt_lets_the_client_come_back(ada: Any) -> None:
    token = AccessToken.for_user(ada)
    token.set_exp(lifetime=timedelta(seconds=-1))
    with pytest.raises(CredentialExpired):
        identity(SimpleJwtAuthenticator(), str(token))


def test_forged_and_wrong_tokens_of_simplejwt_are_refused(ada: Any) -> None:
    authenticator = SimpleJwtAuthenticator()
    good = str(AccessToken.for_user(ada))
    head, body, signature = good.split(".")
    forged = [
        f"{head}.{body}.{signature[::-1]}",
        f"eyJhbGciOiJub25lIn0.{body}.",
        str(RefreshToken.for_user(ada)),
        "a.b.c",
        "..",
    ]
    for each in forged:
        assert refused(authenticator, each), each
    get_user_model().objects.all().delete()
    assert refused(authenticator, good)


def test_both_and_sessions_side_by_side(ada: Any) -> None:
    chosen, problems = read(
        {
            "AUTHENTICATOR": [
                "session",
                "holdfast.auth.rest_framework.SimpleJwtAuthenticator",
                "holdfast.auth.rest_framework.RestFrameworkAuthenticator",
            ]
        }
    )
    assert problems == []
    authenticator = build_authenticator(chosen)
    key, access = Token.objects.create(user=ada).key, str(AccessToken.for_user(ada))
    for token, scheme in ((key, None), (key, "token"), (access, None), (access, "bearer")):
        found = identity(authenticator, token, scheme)
        assert found is not None
        assert found.user == ada
        assert now(authenticator, found).user == ada
    assert refused(authenticator, f"{key}x")
    with pytest.raises(Exception, match="not valid"):
        identity(authenticator, f"{access}x", "bearer")
    assert identity(authenticator, key, "bearer") is None, "TokenAuthentication has the scheme Token"


def test_a_class_that_takes_no_token_is_refused_at_the_start() -> None:
    with pytest.raises(ImproperlyConfigured, match="takes no token"):
        RestFrameworkAuthenticator(authentication="rest_framework.authentication.SessionAuthentication")
    with pytest.raises(ImproperlyConfigured, match="cannot be imported"):
        RestFrameworkAuthenticator(authentication="rest_framework.nowhere.Authentication")
