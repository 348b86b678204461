"""Recognizes exceptions that mean that a credential has expired."""

from django.core.signing import SignatureExpired

from .base import CredentialExpired

_EXPIRED = (CredentialExpired, SignatureExpired)
_BY_NAME = frozenset({"jwt.exceptions.ExpiredSignatureError"})


def means_expired(error: BaseException) -> bool:
    """Return whether an exception of an authenticator means that the credential was valid once: the client may come back with a
    newer one. Known are those of Django's signing, of PyJWT, and :class:`~.base.CredentialExpired`."""
    if isinstance(error, _EXPIRED):
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in _BY_NAME for kind in type(error).__mro__)
