"""The host and the origin that a client has connected to, as Django finds them for a request."""

import functools
from collections.abc import Iterable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http.request import split_domain_port, validate_host

from .origins import Origin

LOCAL_HOSTS = (".localhost", "127.0.0.1", "[::1]")
"""Hosts that Django serves under ``DEBUG`` when ``ALLOWED_HOSTS`` is empty."""

SECURE_SCHEMES = ("https", "wss")

Headers = Iterable[tuple[bytes, bytes]]


def host_of(headers: Headers) -> str | None:
    """Return the host's name in lower case, without the port; ``None`` if the headers name none or several, or one that
    ``ALLOWED_HOSTS`` does not allow. Connections that name a host in the same way share one string."""
    named = named_host(headers)
    return None if named is None else _name(named, _allowed())


def own_origin(headers: Headers, scheme: str) -> Origin | None:
    """Return the origin of this server's own pages, as the client has addressed it: ``scheme://host:port``.

    ``scheme`` is that of the ASGI scope; ASGI's default, for servers that give none, is ``ws``. As for a request of Django,
    ``SECURE_PROXY_SSL_HEADER`` and ``USE_X_FORWARDED_HOST`` say which headers of a proxy count. Returns ``None`` if the
    headers name no host, several, or one that ``ALLOWED_HOSTS`` does not allow.
    """
    headers = tuple(headers)
    named = named_host(headers)
    return None if named is None else _origin(named, _is_secure(headers, scheme), _allowed())


def named_host(headers: Headers) -> bytes | None:
    """Return the host and port that the headers name; ``None`` if they name none, or several."""
    host: bytes | None = None
    forwarded: bytes | None = None
    for name, value in headers:
        if name == b"host":
            host = value if host is None else b""
        elif name == b"x-forwarded-host":
            forwarded = value if forwarded is None else b""
    named = forwarded if settings.USE_X_FORWARDED_HOST and forwarded is not None else host
    return named or None


def _is_secure(headers: Headers, scheme: str) -> bool:
    """Return whether the browser's connection uses TLS. A trusted header counts before the scope, as in ``HttpRequest.scheme``."""
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = _proxy_header(tuple(settings.SECURE_PROXY_SSL_HEADER))
        for header, value in headers:
            if header == name:
                return value.decode("latin-1").split(",", 1)[0].strip() == secure
    return scheme in SECURE_SCHEMES


@functools.lru_cache(maxsize=8)
def _proxy_header(setting: tuple[str, ...]) -> tuple[bytes, str]:
    """Return the name of the header as ASGI has it, and the value that means TLS."""
    try:
        name, secure = setting
    except ValueError:
        raise ImproperlyConfigured(
            "SECURE_PROXY_SSL_HEADER must be a tuple of two values, the name of a header and the value that means TLS"
        ) from None
    return name.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1"), secure


def _allowed() -> tuple[str, ...]:
    return tuple(settings.ALLOWED_HOSTS or (LOCAL_HOSTS if settings.DEBUG else ()))


@functools.lru_cache(maxsize=128)
def _name(header: bytes, allowed: tuple[str, ...]) -> str | None:
    domain, _ = split_domain_port(header.decode("latin-1"))
    # Not interned: Python 3.12 keeps interned strings for ever, and with ALLOWED_HOSTS = ["*"] a client can make up any number.
    return domain if domain and validate_host(domain, allowed) else None


@functools.lru_cache(maxsize=128)
def _origin(header: bytes, secure: bool, allowed: tuple[str, ...]) -> Origin | None:
    if _name(header, allowed) is None:
        return None
    return Origin.parse(f"{'https' if secure else 'http'}://{header.decode('latin-1')}")
