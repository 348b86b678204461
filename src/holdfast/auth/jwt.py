"""JSON Web Tokens (RFC 7519), verified by PyJWT (``pip install 'holdfast[jwt]'``).

What RFC 8725 asks for holds without being asked for: the settings pin the algorithms, a token without a signature is not valid, a
public key is never a secret, and a token must say when it ends.
"""

import datetime as dt
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jwt
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's own name
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, PermissionDenied, ValidationError
from django.utils.module_loading import import_string
from jwt.algorithms import get_default_algorithms, requires_cryptography

from holdfast import runtime
from holdfast.threads.handler_context import HandlerInfo

from . import revalidation
from .base import Authenticator, AuthRequest, CredentialKind, Identity
from .jwks import KeySet

SECRET_BITS = {"HS256": 256, "HS384": 384, "HS512": 512}
"""Algorithms with a shared secret, and the least bits of the secret (RFC 7518, section 3.2)."""

LAST_SECOND = 253_402_300_799
"""The end of the year 9999: later ones are no ``datetime``."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")

Claims = Mapping[str, Any]


class JwtAuthenticator(Authenticator):
    """Authenticates JSON Web Tokens.

    ``algorithms`` are those that a token may be signed with; there is no default. They are verified with ``key`` (a secret for
    ``HS…``, a public key in PEM for the others, or a list of them while keys are exchanged) or with the keys at ``jwks_url``.

    ``audience`` and ``issuer`` are what ``aud`` and ``iss`` of a token must be, or lists of that. ``leeway``: seconds by which clocks
    may differ. ``required``: claims that a token must have; ``exp`` is always one.

    ``user_claim`` names the user: the value of ``user_field`` of the user model, by default its primary key. ``find_user``, the
    dotted path of a function that takes the claims and returns the user or ``None``, replaces both. An inactive user has no valid
    token.

    Raises ``ImproperlyConfigured`` for options that are missing or contradict each other. The identity has the claims, and expires
    with the token.
    """

    kind: ClassVar = CredentialKind.TOKEN

    def __init__(
        self,
        *,
        algorithms: Sequence[str],
        key: str | Sequence[str] | None = None,
        jwks_url: str | None = None,
        audience: str | Sequence[str] | None = None,
        issuer: str | Sequence[str] | None = None,
        leeway: float = 0,
        required: Sequence[str] = (),
        user_claim: str = "sub",
        user_field: str = "pk",
        find_user: str | None = None,
    ) -> None:
        self._algorithms = _checked_algorithms(algorithms)
        self._keys = [key] if isinstance(key, str) else list(key or ())
        self._key_set = None if jwks_url is None else KeySet(_checked_url(jwks_url), self._algorithms)
        if bool(self._keys) == (jwks_url is not None):
            raise _wrong("needs either a key or a jwks_url")
        if jwks_url is not None and _symmetric(self._algorithms):
            raise _wrong("takes the keys at jwks_url for public ones, so that algorithms may not have HS…")
        if leeway < 0:
            raise _wrong(f"has the leeway {leeway!r}, which is less than 0")
        self._audience, self._issuer, self._leeway = audience, issuer, leeway
        named = () if find_user is not None else (user_claim,)
        self._required = list(dict.fromkeys(["exp", *named, *required]))
        self._claim, self._field = user_claim, user_field
        self._find_user: Callable[[Claims], Any] = (
            self._user_of if find_user is None else import_string(find_user)
        )
        for each in self._keys:
            _check_key(each, self._algorithms)

    def accepts(self, request: AuthRequest) -> bool:
        """A token of two dots has the form of a signed JSON Web Token (RFC 7515, section 3.1)."""
        return request.token is not None and request.token.count(".") == 2

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        if request.token is None or not self.accepts(request):
            return None
        keys: Sequence[Any] = self._keys
        if self._key_set is not None:
            key = await self._key_set.find(_key_id(request.token, self._algorithms))
            if key is None:
                return None
            keys = [key]
        info = HandlerInfo(host=request.host)
        claims, user = await runtime.current().threads.handle(info, self._verified, request.token, keys)
        if user is None or not getattr(user, "is_active", True):
            return None
        return request.identify(user, claims=claims, expires_at=_end_of(claims, self._leeway))

    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        return await revalidation.revalidate_in_threads(identities)

    def check(self) -> Sequence[CheckMessage]:
        messages: list[CheckMessage] = []
        if short := [each for each in self._keys if len(each.encode()) * 8 < _least_bits(self._algorithms)]:
            messages.append(
                Warning(
                    f"A key of JwtAuthenticator has {8 * len(short[0].encode())} bits, fewer than "
                    f"{', '.join(self._algorithms)} needs: {_least_bits(self._algorithms)} (RFC 7518, section 3.2).",
                    hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(64))'",
                    id="holdfast.W036",
                )
            )
        if bad := _bad_field(self._field):
            messages.append(
                Error(
                    f"JwtAuthenticator looks for users by {self._field!r}, but {bad}.",
                    hint='Name a unique field in OPTIONS, such as "user_field": "email", or a function: "find_user".',
                    id="holdfast.E037",
                )
            )
        if self._audience is None and self._key_set is not None:
            messages.append(
                Warning(
                    "JwtAuthenticator has a jwks_url and no audience: a token that the provider made for another application "
                    "is valid here, unless it names an audience.",
                    hint='Add the audience of this application to OPTIONS: "audience": "https://live.example.com".',
                    id="holdfast.W037",
                )
            )
        return messages

    # ── in a worker thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _verified(self, token: str, keys: Sequence[Any]) -> tuple[Claims, Any]:
        """Return the claims of a token and its user. Raises ``PermissionDenied`` or PyJWT's ``InvalidTokenError`` if it is not valid."""
        claims = self._claims(token, keys)
        return claims, self._find_user(claims)

    def _claims(self, token: str, keys: Sequence[Any]) -> Claims:
        refusal: Exception = PermissionDenied("no key")
        for key in keys:
            try:
                return _decode(
                    token,
                    key,
                    algorithms=self._algorithms,
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=self._leeway,
                    options={"require": self._required},
                )
            except (jwt.InvalidSignatureError, PermissionDenied) as error:
                # A token that this key cannot read at all may be for a key of another kind, which follows.
                refusal = error
        raise refusal

    def _user_of(self, claims: Claims) -> Any:
        users = get_user_model()
        try:
            field: Any = users._meta.pk if self._field == "pk" else users._meta.get_field(self._field)
            value = field.to_python(claims[self._claim])
        except ValidationError as error:
            raise PermissionDenied(f"the claim {self._claim!r} names no user") from error
        return users._default_manager.filter(**{self._field: value}).first()


def _decode(token: str, key: Any, **more: Any) -> Claims:
    """Decode a token. What a token can make PyJWT raise besides its own errors means that the token is not valid. Raises
    ``PermissionDenied`` for that, and if the token's algorithm takes another kind of key."""
    try:
        claims: Claims = jwt.decode(token, key, **more)
    except jwt.InvalidTokenError:
        raise
    except (jwt.PyJWTError, RecursionError, ValueError, TypeError, ArithmeticError) as error:
        raise PermissionDenied(f"the token cannot be read: {type(error).__name__}") from error
    return claims


def _key_id(token: str, algorithms: Sequence[str]) -> str | None:
    """Return the ``kid`` of a token that is not verified yet. Raises ``PermissionDenied`` if no key can verify it."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError, ValueError, TypeError) as error:
        raise PermissionDenied(f"the token's header cannot be read: {type(error).__name__}") from error
    if header.get("alg") not in algorithms:
        raise PermissionDenied("the token's algorithm is not one of those that the settings name")
    return header.get("kid")


def _end_of(claims: Claims, leeway: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(min(int(claims["exp"]) + leeway, LAST_SECOND), dt.UTC)


def _wrong(what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"JwtAuthenticator {what}.")


def _symmetric(algorithms: Sequence[str]) -> bool:
    return any(each in SECRET_BITS for each in algorithms)


def _least_bits(algorithms: Sequence[str]) -> int:
    return max(SECRET_BITS.get(each, 0) for each in algorithms)


def _checked_algorithms(algorithms: Sequence[str]) -> list[str]:
    """Return the algorithms, if they are pinned in a way that no token can turn against itself (RFC 8725, section 3.1)."""
    if isinstance(algorithms, str) or not algorithms:
        raise _wrong(f'has the algorithms {algorithms!r}, which is no list such as ["RS256"]')
    known = get_default_algorithms()
    for each in algorithms:
        if each == "none":
            raise _wrong('has "none" among its algorithms, with which anybody can sign')
        if each not in known:
            missing = ", which needs the package cryptography" if each in requires_cryptography else ""
            raise _wrong(f"has the algorithm {each!r}, which is not known{missing}")
    if 0 < sum(each in SECRET_BITS for each in algorithms) < len(algorithms):
        raise _wrong(
            f"has the algorithms {', '.join(algorithms)}, some of a shared secret (HS…) and some of a public key, so that the "
            "public key could be used as the secret. Use two JwtAuthenticators"
        )
    return list(algorithms)


def _checked_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return url
    raise _wrong(f"has the jwks_url {url!r}, which must begin with https://")


def _check_key(key: str, algorithms: Sequence[str]) -> None:
    """Raise ``ImproperlyConfigured`` if the key is not of the kind that the algorithms take."""
    wrong: Exception | None = None
    for each in algorithms:
        try:
            get_default_algorithms()[each].prepare_key(key)
            return
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            wrong = error
    raise _wrong(f"has a key that is not one for {' or '.join(algorithms)}: {wrong}")


def _bad_field(field: str) -> str | None:
    """Return what is wrong with ``user_field``, or ``None``."""
    if field == "pk":
        return None
    users = get_user_model()
    try:
        unique = getattr(users._meta.get_field(field), "unique", False)
    except FieldDoesNotExist:
        return f"{users._meta.label} has no field {field!r}"
    return (
        None
        if unique
        else f"{users._meta.label}.{field} is not unique, so that a token could name several users"
    )
