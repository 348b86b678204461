"""Tokens that a handshake brings: in an ``Authorization`` header, or as a subprotocol.

A browser can set no header of a WebSocket, but it can name subprotocols. ``bearer.<token>`` carries a token whose characters are
those of a subprotocol (RFC 6455, section 4.1, item 10: a ``token`` of RFC 9110), which those of a JSON Web Token are.
``bearer64.<text>`` carries any token, as base64url of its UTF-8 bytes without padding. The server never answers with either.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import NamedTuple

SCHEMES = ("bearer", "token")
"""First words of an ``Authorization`` header that brings a token: RFC 6750's, and that of Django REST framework. Other schemes, such
as a staging site's ``Basic``, are not for this server."""

PLAIN, ENCODED = "bearer.", "bearer64."

LONGEST = 8192
"""Characters of a token, as in a ``hello``."""

TWICE = "the handshake brings more than one token (RFC 6750, section 2, allows one)"
UNREADABLE = "the handshake brings a token that cannot be read"


class Presented(NamedTuple):
    """The token of a handshake; see :class:`~.base.AuthRequest` for the fields."""

    token: str | None = None
    scheme: str | None = None
    fault: str | None = None


def presented(headers: Iterable[tuple[bytes, bytes]], subprotocols: Iterable[str]) -> Presented:
    """Return the token that a handshake brings, if it brings one."""
    found = [*_in_headers(headers), *_in_subprotocols(subprotocols)]
    if not found:
        return Presented()
    if len(found) > 1:
        # A token that came as a subprotocol is meant for this server in any case.
        return Presented("", next((None for each in found if each.scheme is None), found[0].scheme), TWICE)
    return found[0]


def without_tokens(subprotocols: Iterable[str]) -> list[str]:
    """Return the subprotocols that carry no token. Only these may be logged, or answered with."""
    return [name for name in subprotocols if not name.startswith((PLAIN, ENCODED))]


def _in_headers(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Presented]:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").strip().partition(" ")
            if scheme.lower() in SCHEMES:
                yield _checked(token.strip(" "), scheme.lower())


def _in_subprotocols(subprotocols: Iterable[str]) -> Iterator[Presented]:
    for name in subprotocols:
        if name.startswith(PLAIN):
            yield _checked(name.removeprefix(PLAIN), None)
        elif name.startswith(ENCODED):
            yield _checked(_decoded(name.removeprefix(ENCODED)), None)


def _decoded(text: str) -> str:
    """Return the token in a ``bearer64.`` subprotocol; an empty text if it cannot be read."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return raw.decode()
    except (binascii.Error, ValueError):
        return ""


def _checked(token: str, scheme: str | None) -> Presented:
    """A token has no spaces and no control characters, in whichever way it comes (RFC 6750, section 2.1)."""
    good = 0 < len(token) <= LONGEST and token.isascii() and token.isprintable() and " " not in token
    return Presented(token if good else "", scheme, None if good else UNREADABLE)
