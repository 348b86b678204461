"""Sessions, tokens and tickets side by side: the request decides which authenticator is asked, and its answer is final."""

import base64
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from holdfast.auth.base import Authenticator, AuthRequest, Credential, CredentialKind, Identity
from holdfast.auth.chain import AuthenticatorChain
from holdfast.auth.session import SessionAuthenticator
from holdfast.conf import read
from holdfast.transports.authentication import request_of
from holdfast.wiring import build_authenticator
from tests.support.connected import User


class By(Authenticator):
    """An authenticator that knows some credentials."""

    def __init__(self, **users: int) -> None:
        self.users = users
        self.revalidated: list[Identity] = []

    def credential(self, request: AuthRequest) -> str:
        return str(request.token)

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        user = self.users.get(self.credential(request))
        if user is None:
            return None
        return request.identify(User(user), credential=Credential(authenticator=self, value="secret"))

    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        self.revalidated += identities
        return list(identities)


class Tokens(By):
    kind: ClassVar = CredentialKind.TOKEN


class ShortTokens(Tokens):
    def accepts(self, request: AuthRequest) -> bool:
        return len(str(request.token)) < 3


class Tickets(By):
    kind: ClassVar = CredentialKind.TICKET

    def credential(self, request: AuthRequest) -> str:
        return request.tickets[0]


class Cookies(By):
    def credential(self, request: AuthRequest) -> str:
        return "cookie" if any(name == b"cookie" for name, _ in request.headers) else "none"

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        return request.identify(User(self.users[self.credential(request)]))


COOKIE = (b"cookie", b"sessionid=abc")


def bearer(token: str, scheme: str = "Bearer") -> tuple[bytes, bytes]:
    return b"authorization", f"{scheme} {token}".encode()


def chain(*more: Authenticator) -> AuthenticatorChain:
    return AuthenticatorChain([Cookies(cookie=1, none=0), Tokens(good=2), Tickets(good=3), *more])


async def who(
    authenticator: Authenticator,
    *headers: tuple[bytes, bytes],
    protocols: Sequence[str] = (),
    query: str = "",
) -> Any:
    scope = {"headers": list(headers), "subprotocols": list(protocols), "query_string": query.encode()}
    found = await authenticator.authenticate(request_of(scope))
    return None if found is None else found.user.pk


async def test_the_request_decides_which_authenticator_is_asked() -> None:
    assert await who(chain(), COOKIE) == 1
    assert await who(chain()) == 0
    assert await who(chain(), bearer("good")) == 2
    assert await who(chain(), bearer("good", "Token")) == 2
    assert await who(chain(), bearer("good", "bEARER")) == 2
    assert await who(chain(), protocols=["holdfast.v1.json", "bearer.good"]) == 2
    assert await who(chain(), query="ticket=good&x=1") == 3


@pytest.mark.parametrize(
    ("headers", "protocols", "query"),
    [
        ([bearer("bad")], [], ""),
        ([bearer("")], [], ""),
        ([bearer("good good")], [], ""),
        ([bearer("x" * 8193)], [], ""),
        ([bearer("g\u00f6\u00f6d")], [], ""),
        ([], ["bearer.bad"], ""),
        ([], ["bearer."], ""),
        ([], ["bearer64.!!"], ""),
        ([], ["bearer64._w"], ""),
        ([], [], "ticket=bad"),
        ([], [], "ticket="),
    ],
)
async def test_a_bad_credential_is_refused_although_a_cookie_is_there(
    headers: Any, protocols: Any, query: str
) -> None:
    assert await who(chain(), COOKIE, *headers, protocols=protocols, query=query) is None


@pytest.mark.parametrize(
    ("headers", "protocols", "query"),
    [
        ([bearer("good"), bearer("good")], [], ""),
        ([bearer("good")], ["bearer.good"], ""),
        ([], ["bearer.good", "bearer.good"], ""),
        ([bearer("good")], [], "ticket=good"),
        ([], ["bearer.good"], "ticket=good"),
    ],
)
async def test_two_credentials_are_refused_although_both_are_good(
    headers: Any, protocols: Any, query: str
) -> None:
    assert await who(chain(), *headers, protocols=protocols, query=query) is None


async def test_a_token_of_any_characters_comes_as_base64url() -> None:
    token = "7:1w/x+y==:\u00e4"
    tokens = AuthenticatorChain([Tokens(**{"a/b=": 2})])
    encoded = base64.urlsafe_b64encode(b"a/b=").decode().rstrip("=")
    assert await who(tokens, protocols=[f"bearer64.{encoded}"]) == 2
    encoded = base64.urlsafe_b64encode(token.encode()).decode()
    assert await who(tokens, protocols=[f"bearer64.{encoded}"]) is None, "a token is ASCII"


async def test_of_several_token_authenticators_the_first_that_accepts_the_token_decides_alone() -> None:
    tokens = AuthenticatorChain([ShortTokens(a=5), Tokens(b=6, long=7)])
    assert await who(tokens, bearer("a")) == 5
    assert await who(tokens, bearer("long")) == 7
    assert await who(tokens, bearer("b")) is None


async def test_a_token_that_no_authenticator_accepts_is_refused() -> None:
    assert (
        await who(AuthenticatorChain([ShortTokens(a=5), Cookies(cookie=1)]), COOKIE, bearer("long")) is None
    )


async def test_without_an_authenticator_for_sessions_a_cookie_means_nothing() -> None:
    found = await AuthenticatorChain([Tokens(good=2)]).authenticate(AuthRequest(headers=[COOKIE]))
    assert found is not None
    assert found.user.is_anonymous


async def test_a_project_without_token_authenticators_takes_no_notice_of_a_proxys_header() -> None:
    """A proxy that signs users in adds a header for the application behind it."""
    sessions = SessionAuthenticator()
    for header in (bearer("of the proxy"), bearer("dTpw", "Basic")):
        found = await sessions.authenticate(AuthRequest(headers=[header], token="x", scheme="bearer"))
        assert found is not None
        assert found.user.is_anonymous


async def test_a_token_in_a_subprotocol_is_refused_where_no_token_is_valid() -> None:
    for authenticator in (SessionAuthenticator(), AuthenticatorChain([Tickets(good=3)])):
        assert await who(authenticator, protocols=["bearer.any"]) is None


async def test_basic_credentials_of_a_staging_site_are_not_looked_at() -> None:
    assert await who(chain(), COOKIE, bearer("dTpw", "Basic")) == 1


async def test_a_ticket_parameter_means_nothing_without_an_authenticator_for_tickets() -> None:
    assert await who(AuthenticatorChain([Cookies(cookie=1), Tokens(good=2)]), COOKIE, query="ticket=55") == 1


async def test_each_authenticator_revalidates_its_own_identities() -> None:
    cookies, tokens, tickets = Cookies(cookie=1), Tokens(good=2), Tickets(good=3)
    several = AuthenticatorChain([cookies, tokens, tickets])
    found = [
        await several.authenticate(request_of({"headers": headers, "query_string": query}))
        for headers, query in (([bearer("good")], b""), ([COOKIE], b""), ([], b"ticket=good"))
    ]
    identities = [each for each in found if each is not None]
    assert await several.revalidate(identities) == identities
    assert [[each.user.pk for each in by.revalidated] for by in (cookies, tokens, tickets)] == [[1], [2], [3]]


async def test_an_authenticator_that_cannot_revalidate_keeps_none_of_the_others_from_it() -> None:
    class Away(Tokens):
        async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
            raise TimeoutError

    several = AuthenticatorChain([Cookies(cookie=1), Away(good=2)])
    by_token = await several.authenticate(AuthRequest(token="good"))
    by_cookie = await several.authenticate(AuthRequest(headers=[COOKIE]))
    assert by_token is not None
    assert by_cookie is not None
    first, second = await several.revalidate([by_token, by_cookie])
    assert isinstance(first, TimeoutError)
    assert second == by_cookie


def test_a_credential_shows_no_secret() -> None:
    identity = Identity(user="ada", credential=Credential(authenticator=Tokens(), value="secret"))
    assert "secret" not in repr(identity)


OWN = f"{__name__}.Cookies"


def test_settings_name_one_authenticator_or_several() -> None:
    for given, built in (
        ({}, SessionAuthenticator),
        ({"AUTHENTICATOR": "session"}, SessionAuthenticator),
        ({"AUTHENTICATOR": OWN}, Cookies),
        ({"AUTHENTICATOR": {"BACKEND": OWN, "OPTIONS": {"cookie": 4}}}, Cookies),
        ({"AUTHENTICATOR": ["session"]}, SessionAuthenticator),
        (
            {"AUTHENTICATOR": ["session", {"BACKEND": f"{__name__}.Tokens", "OPTIONS": {"a": 1}}]},
            AuthenticatorChain,
        ),
        ({"AUTHENTICATOR": f"{__name__}.Tokens"}, AuthenticatorChain),
        ({"TOKEN_AUTHENTICATOR": "builtins.len"}, AuthenticatorChain),
    ):
        chosen, problems = read(given)
        assert problems == []
        assert type(build_authenticator(chosen)) is built


def test_an_empty_list_of_authenticators_is_a_mistake() -> None:
    _, (problem,) = read({"AUTHENTICATOR": []})
    assert problem.what == 'HOLDFAST["AUTHENTICATOR"] is an empty list.'
