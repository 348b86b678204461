"""The host that a client has connected to, as Django finds it for a request."""

import functools
import sys
from collections.abc import Iterable

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from .origins import LOCAL_HOSTS


def host_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the host's name in lower case, without the port; ``None`` if the headers name none, or one that
    ``ALLOWED_HOSTS`` does not allow. All connections to a host share one string."""
    values = dict(headers)
    named, forwarded = values.get(b"host"), values.get(b"x-forwarded-host")
    if forwarded is not None and settings.USE_X_FORWARDED_HOST:
        named = forwarded
    if named is None:
        return None
    allowed = settings.ALLOWED_HOSTS or (LOCAL_HOSTS if settings.DEBUG else ())
    return _name(named, tuple(allowed))


@functools.lru_cache(maxsize=128)
def _name(header: bytes, allowed: tuple[str, ...]) -> str | None:
    domain, _ = split_domain_port(header.decode("latin-1"))
    return sys.intern(domain) if domain and validate_host(domain, allowed) else None
