"""Origins of browser pages, and the patterns that allow them to connect.

An origin is ``scheme://host[:port]`` (RFC 6454), sent by browsers with each handshake. The rule is that of Django's CSRF check
(``CsrfViewMiddleware``): the origin of the request itself, and those that ``CSRF_TRUSTED_ORIGINS`` names; besides them the
origins that ``HOLDFAST["ORIGINS"]`` names in the same syntax.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Self

import msgspec

ANY = "*"

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

LAST_PORT = 65535

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


class BadOrigin(ValueError):
    """A pattern that no origin can match. ``what`` says what is wrong with it, ``hint`` what to write instead."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what} {hint}")
        self.what, self.hint = what, hint


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """One origin, with the default port of its scheme filled in."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the origin of an ``Origin`` header; ``None`` for ``null``, which sandboxed pages and files send, and for a text
        that is no origin."""
        scheme, separator, rest = text.strip().lower().partition("://")
        if not separator or _SCHEME.fullmatch(scheme) is None:
            return None
        split = _split(rest)
        if split is None:
            return None
        host, port = split
        return cls(scheme=scheme, host=host, port=DEFAULT_PORTS.get(scheme) if port is None else port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        at = "" if self.port in (None, DEFAULT_PORTS.get(self.scheme)) else f":{self.port}"
        return f"{self.scheme}://{host}{at}"


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """The origins of one host, or of a domain and all its subdomains, with one scheme and port."""

    scheme: str
    host: str
    subdomains: bool = False
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern of an entry of ``HOLDFAST["ORIGINS"]``: ``https://app.example.com``, ``https://*.example.com`` or
        ``http://localhost:5173``. ``https://.example.com`` means the same as ``https://*.example.com``.

        Raises :class:`BadOrigin` if no origin can match the entry.
        """
        scheme, separator, rest = text.strip().lower().partition("://")
        if not separator:
            raise _without_scheme(text)
        if _SCHEME.fullmatch(scheme) is None:
            raise BadOrigin(f"has {text!r}, whose scheme is not valid.", _EXAMPLE)
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        if authority != rest:
            raise BadOrigin(
                f"has {text!r}, and an origin ends after its host and port: no origin matches this.",
                f'Write "{scheme}://{authority}".' if authority else _EXAMPLE,
            )
        domain = re.sub(r"^(\*?\.)", "", authority)
        if not domain.isascii():
            raise _not_ascii(text, scheme, authority)
        split = _split(domain)
        if split is None:
            raise BadOrigin(
                f"has {text!r}, in which {authority!r} is no host with an optional port.",
                f'{_EXAMPLE} A star stands only for subdomains, as in "https://*.example.com".',
            )
        host, port = split
        return cls(
            scheme=scheme,
            host=host,
            subdomains=domain != authority,
            port=DEFAULT_PORTS.get(scheme) if port is None else port,
        )

    def matches(self, origin: Origin) -> bool:
        if (self.scheme, self.port) != (origin.scheme, origin.port):
            return False
        return origin.host == self.host or (self.subdomains and origin.host.endswith(f".{self.host}"))


class AllowedOrigins:
    """The origins that may connect besides that of the request itself: those of ``HOLDFAST["ORIGINS"]``, and those of
    ``CSRF_TRUSTED_ORIGINS``, of which entries that no origin can match are ignored, as in Django."""

    def __init__(self, origins: Iterable[str], trusted: Iterable[str] = ()) -> None:
        origins = list(origins)
        self._any = ANY in origins
        self._patterns = [
            *(Pattern.parse(origin) for origin in origins if origin != ANY),
            *(pattern for origin in trusted if (pattern := _parsed(origin)) is not None),
        ]

    def admits(self, header: str | None, own: Origin | None) -> bool:
        """Return whether a handshake with this ``Origin`` header may connect. ``own`` is the origin of the request
        (:func:`.host.own_origin`). Without the header it may only if every origin may; handshakes without a cookie never
        come here (:mod:`holdfast.transports.origin`)."""
        if self._any:
            return True
        origin = None if header is None else _of_header(header)
        if origin is None:
            return False
        return origin == own or any(pattern.matches(origin) for pattern in self._patterns)


@functools.lru_cache(maxsize=8)
def allowed(origins: tuple[str, ...], trusted: tuple[str, ...]) -> AllowedOrigins:
    """Return the origins that two settings allow: ``ORIGINS`` and ``CSRF_TRUSTED_ORIGINS``."""
    return AllowedOrigins(origins, trusted)


@functools.lru_cache(maxsize=128)
def _of_header(text: str) -> Origin | None:
    """Return :meth:`Origin.parse`: the pages of few origins open most connections."""
    return Origin.parse(text)


def is_any_site(text: str) -> bool:
    """Return whether an entry of ``ORIGINS`` allows sites of any owner: ``*``, or all domains below a name such as ``com``."""
    if text == ANY:
        return True
    pattern = _parsed(text)
    return (
        pattern is not None and pattern.subdomains and "." not in pattern.host and pattern.host != "localhost"
    )


def _parsed(text: str) -> Pattern | None:
    try:
        return Pattern.parse(text)
    except BadOrigin:
        return None


_EXAMPLE = 'Write it as browsers send it, such as "https://app.example.com" or "http://localhost:5173".'


def _split(authority: str) -> tuple[str, int | None] | None:
    """Return host and port of a text; ``None`` if it is something else. An IPv6 address is in its short form, without brackets."""
    bracketed, bracket, rest = authority.partition("]") if authority.startswith("[") else ("", "", authority)
    name, colon, digits = rest.partition(":")
    if bracket:
        try:
            host = ipaddress.IPv6Address(bracketed[1:]).compressed
        except ValueError:
            return None
        if name:
            return None
    else:
        host = name.removesuffix(".")
        if _HOST.fullmatch(host) is None:
            return None
    if not colon:
        return host, None
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5 and int(digits) <= LAST_PORT):
        return None
    return host, int(digits)


def _without_scheme(text: str) -> BadOrigin:
    host = re.split(r"[/?#]", text.strip().removeprefix("//"), maxsplit=1)[0]
    if host.lower() == "null":
        return BadOrigin(
            'has "null", which every sandboxed page and every file sends: all of them could connect.',
            "Serve the page from a host, and name that host.",
        )
    return BadOrigin(
        f"has {text!r}, which has no scheme: no origin matches it.",
        f'Write "https://{host}", or "http://{host}" for a page without TLS.' if host else _EXAMPLE,
    )


def _not_ascii(text: str, scheme: str, authority: str) -> BadOrigin:
    try:
        written = f'Write "{scheme}://{authority.encode("idna").decode()}".'
    except UnicodeError:
        written = "Write the name in its ASCII form (xn--…)."
    return BadOrigin(f"has {text!r}, and browsers send such a name in its ASCII form.", written)
