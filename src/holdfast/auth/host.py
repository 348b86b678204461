"""The host that a client has connected to, as Django finds it for a request."""

import sys
from collections.abc import MutableMapping
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

LOCAL = (".localhost", "127.0.0.1", "[::1]")
"""Allowed in development, as for requests."""


def host_of(scope: MutableMapping[str, Any]) -> str | None:
    """Its name in lower case, without the port; ``None`` if the handshake names none, or one that ``ALLOWED_HOSTS`` does not
    allow. One string for all connections to a host."""
    names = [b"x-forwarded-host", b"host"] if settings.USE_X_FORWARDED_HOST else [b"host"]
    headers = dict(scope["headers"])
    for name in names:
        if name in headers:
            domain, _ = split_domain_port(headers[name].decode("latin-1"))
            allowed = settings.ALLOWED_HOSTS or (LOCAL if settings.DEBUG else ())
            return sys.intern(domain) if domain and validate_host(domain, allowed) else None
    return None
