"""Public names by module, and the error of an import from another one.

``from holdfast import SharedDocument`` is a natural guess, and Python answers it with "cannot import name". The packages that import their
names on first use raise the error of :func:`not_in` instead, which says where the name is.
"""

# Imports of this package only `extras`, and the packages with lazy names when one of them lacks a name.

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

from .extras import PACKAGES, Want

LAZY = ("holdfast", "holdfast.pad", "holdfast.testing")
"""The packages that import their names on first use. Their ``__all__`` can be read without Django."""

OTHERS: Mapping[str, Sequence[str]] = {
    "holdfast.asgi": (
        "answering_readiness",
        "below_script_name",
        "lifespan",
        "live_urlpatterns",
        "origin_checked",
        "shut_down",
        "with_live_topics",
    ),
    "holdfast.auth.base": ("AuthRequest", "Authenticator", "CredentialKind"),
    "holdfast.auth.jwt": ("JwtAuthenticator",),
    "holdfast.auth.rest_framework": ("RestFrameworkAuthenticator", "SimpleJwtAuthenticator"),
    "holdfast.auth.session": ("SessionAuthenticator",),
    "holdfast.backplane.base": ("Backplane",),
    "holdfast.client": ("ClientError", "RemoteEvent", "RemoteLive", "RemoteReset", "RemoteTopic", "connect"),
    "holdfast.client.blocking": ("BlockingLive", "BlockingTopic", "connect"),
    "holdfast.log.base": ("Log", "LogError", "LogUnavailable", "NotMigrated"),
    "holdfast.metrics": ("Counters", "GAUGES", "snapshot"),
    "holdfast.presence.base": ("PresenceStore", "PresenceUnavailable"),
    "holdfast.server": ("HttpProtocol", "Server", "WebSocketProtocol"),
    "holdfast.signals": (
        "connection_accepted",
        "connection_closed",
        "connection_refused",
        "evicted",
        "join_refused",
        "limit_hit",
    ),
    "holdfast.testing.pytest": ("async_live", "live", "live_site"),
    "holdfast.tickets": ("TooManyTickets", "aissue", "issue"),
    "holdfast.topics.html_rendering": ("NeedsRequest",),
}
"""The names that the documentation gives to users from other modules, by the module to import them from."""

NEEDS: Mapping[str, str] = {"holdfast.auth.jwt": "jwt", "holdfast.pad": "pad"}
"""Modules that need an extra of the distribution."""


def names() -> Mapping[str, Sequence[str]]:
    """Return all public names, by the module to import them from."""
    lazy = {package: [name for name in import_module(package).__all__ if name[0] != "_"] for package in LAZY}
    return {**lazy, **OTHERS}


def not_in(module: str, name: str) -> Exception:
    """Return the error of an attribute that a module does not have.

    It is an ``ImportError`` if another module has that name. ``from holdfast import …`` hides the text of an ``AttributeError``.
    """
    known = names()
    places = [place for place in sorted(known) if name in known[place]]
    if not places:
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    ways = " or ".join(f"from {place} import {name}" for place in places)
    text = f"{module} has no {name}. Write: {ways}{''.join(_extras_of(places))}"
    return ImportError(text, name=module)


def _extras_of(places: Sequence[str]) -> Iterator[str]:
    for place in places:
        extra = NEEDS.get(place)
        if extra is not None:
            want = Want(extra=extra, because=f"{place} is imported")
            if want.missing:
                yield f". {want.problem} {want.hint}"


def without_extra(module: str, error: ModuleNotFoundError) -> ImportError:
    """Return the error of a module whose extra is not installed; ``error`` itself if something else is missing."""
    extra = NEEDS.get(module)
    if extra is None or error.name not in PACKAGES[extra]:
        return error
    want = Want(extra=extra, because=f"{module} is imported")
    return ImportError(f"{want.problem} {want.hint}", name=error.name)
