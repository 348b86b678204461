"""Authenticators that use Django REST framework: its tokens, SimpleJWT's, and any other authentication class that goes by an
``Authorization`` header.

The project's own code and settings decide: the class gets a request with the token in the header that it expects.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from holdfast import runtime
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.failures import Verdict, verdict_of

from .base import NO_CLAIMS, Authenticator, AuthRequest, Credential, CredentialExpired, Identity, Kind
from .expiry import means_expired

TOKEN_AUTHENTICATION = "rest_framework.authentication.TokenAuthentication"  # noqa: S105 - the path of a class
JWT_AUTHENTICATION = "rest_framework_simplejwt.authentication.JWTAuthentication"


class RestFrameworkAuthenticator(Authenticator):
    """Authenticates tokens by an authentication class of Django REST framework (``authentication``, its dotted path).

    The class runs again at each re-check, so that a token that was deleted ends its connections. For that the connection keeps the
    token. Raises ``ImproperlyConfigured`` if the class cannot be imported, or goes by no header (``SessionAuthentication``).
    """

    kind: ClassVar = Kind.TOKEN

    def __init__(self, *, authentication: str = TOKEN_AUTHENTICATION) -> None:
        try:
            found = import_string(authentication)
        except ImportError as error:
            raise ImproperlyConfigured(f"{authentication} cannot be imported: {error}.") from error
        self._authentication: Any = found()
        challenge = self._authentication.authenticate_header(_request(""))
        if not challenge:
            raise ImproperlyConfigured(f"{authentication} takes no token: it names no scheme for a header.")
        self._keyword = str(challenge).split()[0]

    def accepts(self, request: AuthRequest) -> bool:
        """A header with another scheme is for another class."""
        return request.scheme in (None, self._keyword.lower())

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        token = request.token
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            return None
        info = HandlerInfo(host=request.host)
        found = await runtime.current().threads.handle(info, self._authenticated, token)
        if found is None:
            return None
        user, auth = found
        return request.identify(
            user,
            claims=_claims(auth),
            expires_at=_end_of(auth),
            credential=Credential(authenticator=self, value=token),
        )

    def _authenticated(self, token: str) -> tuple[Any, Any] | None:
        """Return the user and what the class returns besides; ``None`` if it does not know the token."""
        found: tuple[Any, Any] | None = self._authentication.authenticate(
            _request(f"{self._keyword} {token}")
        )
        if found is None or not getattr(found[0], "is_active", True):
            return None
        return found

    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        handlers = [
            (HandlerInfo(host=identity.host), lambda identity=identity: self._now(identity))
            for identity in identities
        ]
        return await runtime.current().threads.handle_many(handlers)

    def _now(self, identity: Identity) -> Identity | None:
        if identity.expired or identity.credential is None:
            return None
        try:
            found = self._authenticated(identity.credential.value)
        except Exception as error:
            if verdict_of(error) is Verdict.DENIED or means_expired(error):
                return None
            raise
        if found is None or found[0].pk != identity.user.pk:
            return None
        return msgspec.structs.replace(identity, user=found[0])


class SimpleJwtAuthenticator(RestFrameworkAuthenticator):
    """Authenticates JSON Web Tokens by SimpleJWT, with its own settings (``SIMPLE_JWT``)."""

    def __init__(self, *, authentication: str = JWT_AUTHENTICATION) -> None:
        super().__init__(authentication=authentication)

    def accepts(self, request: AuthRequest) -> bool:
        """A token of two dots has the form of a signed JSON Web Token (RFC 7515, section 3.1)."""
        return super().accepts(request) and request.token is not None and request.token.count(".") == 2

    def _authenticated(self, token: str) -> tuple[Any, Any] | None:
        from rest_framework_simplejwt.exceptions import InvalidToken

        try:
            return super()._authenticated(token)
        except InvalidToken as error:
            if _has_expired(token):
                raise CredentialExpired("the token has expired") from error
            raise


def _has_expired(token: str) -> bool:
    """Return whether SimpleJWT finds nothing wrong with a token but its age."""
    from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
    from rest_framework_simplejwt.settings import api_settings

    for kind in api_settings.AUTH_TOKEN_CLASSES:
        try:
            kind(token.encode())
        except ExpiredTokenError:
            return True
        except TokenError:
            continue
    return False


def _request(authorization: str) -> Any:
    from rest_framework.request import Request

    request = HttpRequest()
    request.method = "GET"
    request.META["HTTP_AUTHORIZATION"] = authorization
    return Request(request)


def _claims(auth: Any) -> Mapping[str, Any]:
    payload = getattr(auth, "payload", None)
    return payload if isinstance(payload, Mapping) else NO_CLAIMS


def _end_of(auth: Any) -> dt.datetime | None:
    """Return when a token ends: by its ``exp``, or by the field of a token's row that says so (``expires`` of OAuth Toolkit, ``expiry``
    of Knox)."""
    seconds = _claims(auth).get("exp")
    if isinstance(seconds, int | float):
        return dt.datetime.fromtimestamp(min(seconds, 253_402_300_799), dt.UTC)
    for name in ("expires", "expiry"):
        end = getattr(auth, name, None)
        if isinstance(end, dt.datetime):
            return end if timezone.is_aware(end) else timezone.make_aware(end)
    return None
