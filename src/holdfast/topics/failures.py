"""Meaning of an exception that the project's code raised: no, try again, or a fault.

Rules, actions, snapshots, presence data, authenticators and session stores all fail in the same ways. :func:`verdict_of` alone
decides what an exception means, so that the same exception has the same meaning in all of them. The caller decides what
follows from a verdict: a refused join, an error reply, a closed connection.
"""

import enum
import errno
import logging
import sqlite3
import urllib.error

from django.conf import settings
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    ObjectDoesNotExist,
    PermissionDenied,
    SynchronousOnlyOperation,
    ValidationError,
)
from django.core.signing import BadSignature
from django.db import InterfaceError, OperationalError
from django.http import Http404

from holdfast.log.base import LogError
from holdfast.presence.base import PresenceUnavailable
from holdfast.process.limited_log import log_limited, place_of
from holdfast.protocol import codes
from holdfast.protocol.codes import Code
from holdfast.threads.turns import Overloaded

from .refuse import Refuse


class Verdict(enum.Enum):
    """The meaning of an exception.

    ``DENIED``: the code said no. ``MISSING``: an object that the code looked for does not exist; from a rule that means no.
    ``INVALID``: values given to the code are not valid; from an action that is an answer, elsewhere a fault.
    ``UNAVAILABLE``: a database, a cache or another service did not answer; the same attempt may succeed later. ``FAULT``:
    any other exception, which counts as a mistake in the code.
    """

    DENIED = "denied"
    MISSING = "missing"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    FAULT = "fault"


_DENIED = (PermissionDenied, BadSignature, Refuse)
_MISSING = (Http404, ObjectDoesNotExist)
_UNAVAILABLE = (
    OperationalError,
    InterfaceError,
    LogError,
    Overloaded,
    PresenceUnavailable,
    TimeoutError,
    ConnectionError,
)
_UNREACHABLE = frozenset(
    {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.ETIMEDOUT}
)

_BY_NAME = {
    "aiohttp.client_exceptions.ClientConnectionError": Verdict.UNAVAILABLE,
    "django_redis.exceptions.ConnectionInterrupted": Verdict.UNAVAILABLE,
    "httpx.TransportError": Verdict.UNAVAILABLE,
    "jwt.exceptions.InvalidTokenError": Verdict.DENIED,
    "jwt.exceptions.PyJWKClientConnectionError": Verdict.UNAVAILABLE,
    "psycopg.InterfaceError": Verdict.UNAVAILABLE,
    "psycopg.OperationalError": Verdict.UNAVAILABLE,
    "pylibmc.Error": Verdict.UNAVAILABLE,
    "pymemcache.exceptions.MemcacheServerError": Verdict.UNAVAILABLE,
    "redis.exceptions.ClusterDownError": Verdict.UNAVAILABLE,
    "redis.exceptions.ConnectionError": Verdict.UNAVAILABLE,
    "redis.exceptions.ReadOnlyError": Verdict.UNAVAILABLE,
    "redis.exceptions.TimeoutError": Verdict.UNAVAILABLE,
    "redis.exceptions.TryAgainError": Verdict.UNAVAILABLE,
    "requests.exceptions.ConnectionError": Verdict.UNAVAILABLE,
    "requests.exceptions.Timeout": Verdict.UNAVAILABLE,
    "rest_framework.exceptions.AuthenticationFailed": Verdict.DENIED,
    "rest_framework.exceptions.NotAuthenticated": Verdict.DENIED,
    "rest_framework.exceptions.NotFound": Verdict.MISSING,
    "rest_framework.exceptions.PermissionDenied": Verdict.DENIED,
    "rest_framework.exceptions.ValidationError": Verdict.INVALID,
    "socket.gaierror": Verdict.UNAVAILABLE,
}
"""Exceptions of optional packages, by the full name of the class or of one of its bases."""


def verdict_of(error: BaseException) -> Verdict:
    """Return what an exception of the project's code means."""
    match error:
        case urllib.error.HTTPError():
            return Verdict.UNAVAILABLE if error.code >= 500 else Verdict.FAULT
        case urllib.error.URLError():
            return Verdict.UNAVAILABLE
        case OperationalError() if _is_wrong_sql(error):
            return Verdict.FAULT
        case _ if isinstance(error, _DENIED):
            return Verdict.DENIED
        case _ if isinstance(error, _MISSING):
            return Verdict.MISSING
        case ValidationError():
            return Verdict.INVALID
        case _ if isinstance(error, _UNAVAILABLE):
            return Verdict.UNAVAILABLE
        case OSError() if error.errno in _UNREACHABLE:
            return Verdict.UNAVAILABLE
    for kind in type(error).__mro__:
        if verdict := _BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}"):
            return verdict
    return Verdict.FAULT


def means_no(error: BaseException) -> bool:
    """Return whether an exception raised by a rule means that the rule refuses."""
    return verdict_of(error) in (Verdict.DENIED, Verdict.MISSING)


def code_of(error: BaseException) -> Code:
    """Return the catalogue's code for a client whose join, token or subscription failed with this exception."""
    match verdict_of(error):
        case Verdict.DENIED | Verdict.MISSING:
            return codes.FORBIDDEN
        case Verdict.UNAVAILABLE:
            return codes.UNAVAILABLE
        case Verdict.INVALID | Verdict.FAULT:
            return codes.INTERNAL


def detail_of(error: BaseException) -> str | None:
    """Return what a client may read about a fault: the exception under ``DEBUG``, ``None`` in production."""
    faulty = verdict_of(error) in (Verdict.FAULT, Verdict.INVALID)
    return f"DEBUG: {type(error).__name__}: {error}" if faulty and settings.DEBUG else None


def field_errors(error: BaseException) -> dict[str, list[str]]:
    """Return the texts of a ``ValidationError``, Django's or Django REST framework's, by field. Texts that concern no single
    field are under ``__all__``, as in Django's forms."""
    if isinstance(error, ValidationError):
        return error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    detail: object = getattr(error, "detail", None)
    if isinstance(detail, dict):
        return {str(field): _texts(value) for field, value in detail.items()}
    return {NON_FIELD_ERRORS: _texts(detail)}


def _texts(detail: object) -> list[str]:
    """Return the texts in a value of REST framework's ``detail``, which nests lists and dicts for nested serializers."""
    if isinstance(detail, dict):
        return [f"{field}: {text}" for field, value in detail.items() for text in _texts(value)]
    if isinstance(detail, list | tuple):
        return [text for value in detail for text in _texts(value)]
    return [str(detail)]


def report_unauthenticated(logger: logging.Logger, what: str, error: BaseException | None) -> None:
    """Log why a credential was refused: the exception of the authenticator, or ``None`` if it found no user.

    Under ``DEBUG`` that is a warning, which Django shows without a setting. The client never learns the reason.
    """
    level = logging.WARNING if settings.DEBUG else logging.INFO
    what = f"{what} could not be authenticated"
    if error is not None:
        report(logger, what, error, no=level)
        return
    log_limited(logger, level, what, "%s, which counts as a no: the authenticator found no user for it", what)


def report(logger: logging.Logger, what: str, error: BaseException, *, no: int = logging.INFO) -> None:
    """Log an exception of the project's code: a fault with its traceback, everything else in one line. ``what`` is a clause
    such as ``"a join of 'rooms/lobby' failed"``, ``no`` the level for exceptions that mean no.

    Clients can repeat what causes it. So of the exceptions of one type that one line of code raises, one a second is logged."""
    kind = place_of(error)
    if isinstance(error, SynchronousOnlyOperation):
        log_limited(
            logger,
            logging.ERROR,
            kind,
            "%s: an async def used the database as synchronous code does (%s). Make it a plain def, or use the ORM's own "
            "async methods (aget, acreate, async for …).",
            what,
            error,
            error=error,
        )
        return
    match verdict_of(error):
        case Verdict.FAULT | Verdict.INVALID:
            log_limited(logger, logging.ERROR, kind, "%s", what, error=error)
        case Verdict.UNAVAILABLE:
            message = "%s; a later attempt may succeed: %s: %s"
            log_limited(logger, logging.WARNING, kind, message, what, type(error).__name__, error)
        case _:
            message = "%s, which counts as a no: %s: %s"
            log_limited(logger, no, kind, message, what, type(error).__name__, error)


def _is_wrong_sql(error: OperationalError) -> bool:
    """SQLite has one error for "no such table" and for wrong SQL, which Django turns into an ``OperationalError``."""
    cause = error.__cause__
    code = getattr(cause, "sqlite_errorcode", None)
    return isinstance(cause, sqlite3.Error) and code is not None and code & 0xFF == sqlite3.SQLITE_ERROR
