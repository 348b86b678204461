"""JSON Web Tokens: forged, stolen and stale ones are refused; the settings cannot be made unsafe without notice."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured

from holdfast import runtime
from holdfast.auth.base import AuthRequest, Identity
from holdfast.auth.expiry import means_expired
from holdfast.auth.jwt import JwtAuthenticator
from holdfast.threads.threads import Threads
from holdfast.topics.failures import Verdict, verdict_of

SECRET = "s" * 64
OTHER_SECRET = "o" * 64
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: Any) -> str:
    return (
        key.public_key()
        .public_bytes(  # type: ignore[no-any-return]
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        .decode()
    )


def token(
    key: Any = SECRET, algorithm: str = "HS256", *, seconds: float = 60, header: Any = None, **claims: Any
) -> str:
    claims = {"sub": "1", "exp": datetime.now(UTC) + timedelta(seconds=seconds), **claims}
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, key, algorithm=algorithm, headers=header)


def raw(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def anybody(claims: Any) -> Any:
    return get_user_model()(pk=int(claims["sub"]), username="ada", is_active=not claims.get("inactive"))


def no_user(claims: Any) -> Any:
    return None


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made = Threads(2)
    monkeypatch.setattr(runtime, "current", lambda: type("Runtime", (), {"threads": made}))
    yield
    made.close()


def by(**options: Any) -> JwtAuthenticator:
    given = {
        "algorithms": ["HS256"],
        "key": SECRET,
        "find_user": f"{__name__}.anybody",
        "required": ["sub"],
        **options,
    }
    return JwtAuthenticator(**{name: value for name, value in given.items() if value is not None})


async def identity(authenticator: JwtAuthenticator, text: str) -> Identity | None:
    return await authenticator.authenticate(AuthRequest(token=text, address="192.0.2.1"))


async def refused(authenticator: JwtAuthenticator, text: str) -> bool:
    """Return whether the token is refused, by the answer or by an exception that means no and logs no traceback."""
    outcome: Any
    try:
        outcome = await identity(authenticator, text)
    except Exception as error:
        outcome = error
    if isinstance(outcome, Exception):
        assert verdict_of(outcome) is Verdict.DENIED, repr(outcome)
        assert text not in str(outcome) or not text
    return outcome is None or isinstance(outcome, Exception)


async def test_a_good_token_brings_its_user_its_claims_and_its_end() -> None:
    found = await identity(by(), token(scope="read"))
    assert found is not None
    assert (found.user.pk, found.claims["scope"], found.address) == (1, "read", "192.0.2.1")
    assert found.seconds_left is not None
    assert 55 < found.seconds_left <= 60


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
async def test_public_keys(algorithm: str) -> None:
    key = EC_KEY if algorithm == "ES256" else RSA_KEY
    authenticator = by(algorithms=[algorithm], key=public(key))
    assert await identity(authenticator, token(key, algorithm)) is not None
    other = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(65537, 2048)
    )
    assert await refused(authenticator, token(other, algorithm))


CLAIMS = {"sub": "1", "exp": 4_000_000_000}

FORGED: dict[str, Callable[[], str]] = {
    "none": lambda: raw({"alg": "none", "typ": "JWT"}, CLAIMS),
    "None": lambda: raw({"alg": "None"}, CLAIMS),
    "no algorithm": lambda: raw({}, CLAIMS),
    "no signature": lambda: raw({"alg": "HS256"}, CLAIMS),
    "another key": lambda: token(OTHER_SECRET),
    "another algorithm": lambda: token(SECRET, "HS512"),
    "a public key": lambda: token(RSA_KEY, "RS256"),
    "expired": lambda: token(seconds=-1),
    "not yet valid": lambda: token(nbf=datetime.now(UTC) + timedelta(seconds=30)),
    "no end": lambda: token(exp=None),
    "an end that is no number": lambda: raw({"alg": "HS256"}, {"sub": "1", "exp": "soon"}),
    "no user": lambda: token(sub=None),
    "a claim is missing": lambda: jwt.encode({"exp": 4_000_000_000}, SECRET),
    "an inactive user": lambda: token(inactive=True),
    "deep": lambda: raw({"alg": "HS256"}, CLAIMS).replace(
        "eyJ", base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("="), 1
    ),
    "deep claims": lambda: jwt.api_jws.encode(b"[" * 5000, SECRET),
    "critical": lambda: token(header={"crit": ["b64"], "b64": False}),
    "a kid that is no text": lambda: raw({"alg": "HS256", "kid": {"a": 1}}, CLAIMS),
    "dots": lambda: "..",
    "a NUL": lambda: "\0.\0.\0",
    "no JSON Web Token": lambda: "abc",
    "empty": lambda: "",
    "an infinite end": lambda: jwt.api_jws.encode(b'{"sub": "1", "exp": Infinity}', SECRET),
    "claims that are no object": lambda: jwt.api_jws.encode(b"[1]", SECRET),
    "a lone surrogate": lambda: "\ud83d.\ud83d.\ud83d",
}


@pytest.mark.parametrize("forged", FORGED)
async def test_a_token_that_is_not_valid_is_refused(forged: str) -> None:
    assert await refused(by(), FORGED[forged]())


async def test_a_public_key_is_never_taken_for_a_secret() -> None:
    """The attack: sign with HMAC, and with the public key, which is public, as the secret."""
    pem = public(RSA_KEY)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(CLAIMS).encode()).rstrip(b"=")
    signature = hmac.new(pem.encode(), head + b"." + body, hashlib.sha256).digest()
    forged = b".".join([head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    assert await refused(by(algorithms=["RS256"], key=pem), forged)


async def test_audience_and_issuer_are_checked() -> None:
    authenticator = by(audience="live", issuer=["a", "b"])
    assert await identity(authenticator, token(aud="live", iss="b")) is not None
    assert await identity(authenticator, token(aud=["x", "live"], iss="a")) is not None
    for claims in ({"aud": "shop", "iss": "a"}, {"aud": "live", "iss": "c"}, {"iss": "a"}, {"aud": "live"}):
        assert await refused(authenticator, token(**claims))
    assert await refused(by(), token(aud="shop")), (
        "a token for another audience is not for a server that names none"
    )


async def test_required_claims_and_leeway() -> None:
    assert await refused(by(required=["jti"]), token())
    assert await identity(by(required=["jti", "sub"]), token(jti="7")) is not None
    found = await identity(by(leeway=10), token(seconds=-5))
    assert found is not None
    assert not found.expired, "the connection lasts for the leeway too"
    assert await refused(by(leeway=2), token(seconds=-5))


async def test_a_key_that_is_replaced_stays_valid_while_it_is_listed() -> None:
    authenticator = by(key=[OTHER_SECRET, SECRET])
    assert await identity(authenticator, token(SECRET)) is not None
    assert await identity(authenticator, token(OTHER_SECRET)) is not None
    assert await refused(authenticator, token("x" * 64))


@pytest.mark.parametrize("keys", [[RSA_KEY, EC_KEY], [EC_KEY, RSA_KEY]], ids=["rsa-first", "ec-first"])
async def test_a_key_of_one_kind_can_be_replaced_by_one_of_another_kind(keys: Any) -> None:
    authenticator = by(key=[public(key) for key in keys], algorithms=["RS256", "ES256"])
    assert await identity(authenticator, token(RSA_KEY, "RS256")) is not None
    assert await identity(authenticator, token(EC_KEY, "ES256")) is not None
    forger = ec.generate_private_key(ec.SECP256R1())
    assert await refused(authenticator, token(forger, "ES256"))


async def test_an_expired_token_is_told_from_one_that_was_never_valid() -> None:
    with pytest.raises(jwt.ExpiredSignatureError) as raised:
        await identity(by(), token(seconds=-1))
    assert means_expired(raised.value)
    with pytest.raises(jwt.InvalidSignatureError) as forged:
        await identity(by(), token(OTHER_SECRET, seconds=-1))
    assert not means_expired(forged.value)


async def test_an_end_after_the_year_9999_is_no_fault() -> None:
    found = await identity(by(), token(exp=10**15))
    assert found is not None


async def test_a_function_of_the_project_finds_the_user() -> None:
    assert await refused(by(find_user=f"{__name__}.no_user"), token())


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_users_are_found_by_a_claim() -> None:
    ada = get_user_model().objects.create_user("ada", email="ada@example.com")
    by_pk, by_name = by(find_user=None), by(find_user=None, user_claim="name", user_field="username")

    async def found(authenticator: JwtAuthenticator, text: str) -> Any:
        return await refused(authenticator, text) or (await identity(authenticator, text)).user.username  # type: ignore[union-attr]

    assert asyncio.run(found(by_pk, token(sub=str(ada.pk)))) == "ada"
    assert asyncio.run(found(by_pk, token(sub="999999"))) is True
    assert asyncio.run(found(by_pk, token(sub="no number"))) is True
    assert asyncio.run(found(by_pk, token(sub=""))) is True
    assert asyncio.run(found(by_name, token(name="ada"))) == "ada"
    assert asyncio.run(found(by_name, token(name="eve"))) is True
    get_user_model().objects.update(is_active=False)
    assert asyncio.run(found(by_pk, token(sub=str(ada.pk)))) is True


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"algorithms": ["none"]}, "with which anybody can sign"),
        ({"algorithms": []}, "no list such as"),
        ({"algorithms": "HS256"}, "no list such as"),
        ({"algorithms": ["HS257"]}, "'HS257', which is not known"),
        ({"algorithms": ["HS256", "RS256"]}, "could be used as the secret"),
        ({"key": None}, "either a key or a jwks_url"),
        ({"jwks_url": "https://id.example/keys"}, "either a key or a jwks_url"),
        ({"key": None, "jwks_url": "https://id.example/keys"}, "may not have HS"),
        (
            {"key": None, "algorithms": ["RS256"], "jwks_url": "http://id.example/keys"},
            "must begin with https://",
        ),
        (
            {"key": None, "algorithms": ["RS256"], "jwks_url": "file:///etc/passwd"},
            "must begin with https://",
        ),
        ({"algorithms": ["RS256"]}, "a key that is not one for RS256"),
        ({"key": public(RSA_KEY)}, "a key that is not one for HS256"),
        ({"leeway": -1}, "less than 0"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: Any, what: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="JwtAuthenticator") as raised:
        by(**options)
    assert what in str(raised.value)
    assert SECRET not in str(raised.value)


def test_w036_a_short_secret() -> None:
    (message,) = by(key="short").check()
    assert message.id == "holdfast.W036"
    assert "40 bits" in message.msg
    assert by().check() == []


def test_w037_a_key_set_without_an_audience() -> None:
    options: Any = {"key": None, "algorithms": ["RS256"], "jwks_url": "https://id.example/keys"}
    (message,) = by(**options).check()
    assert message.id == "holdfast.W037"
    assert by(**options, audience="live").check() == []


def test_e037_a_field_that_names_no_single_user() -> None:
    for field, what in (("nickname", "has no field 'nickname'"), ("email", "is not unique")):
        (message,) = by(user_field=field).check()
        assert message.id == "holdfast.E037"
        assert what in message.msg
    assert by(user_field="username").check() == []
