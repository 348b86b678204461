"""Address of Redis: the URL of the settings, parsed.

=============================================================  =========================================================
``redis://[user:password@]host[:port][/db]``                   one server (Redis or Valkey)
``unix://[user:password@]/path/of/the.sock[?db=0]``            the same through its UNIX socket
``redis+sentinel://[user:password@]host[:port],…/service[/db]``  the primary that these sentinels name
``redis+cluster://[user:password@]host[:port],…``              a cluster; any of its nodes is enough to find the others
=============================================================  =========================================================

``rediss`` instead of ``redis`` means TLS, ``valkey`` and ``valkeys`` mean the same as ``redis`` and ``rediss``. In user names
and passwords, every character that is neither a letter nor a digit is percent-encoded. These options may follow a ``?``:

``prefix``
    Beginning of the names of all keys and channels, ``holdfast`` by default. Installations that share one Redis
    need different ones: pub/sub knows no databases.
``timeout``
    Seconds that connecting, and likewise one answer, may take; 2 by default.
``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs``, ``ssl_check_hostname``
    As redis-py has them: paths of PEM files; ``none``, ``optional`` or ``required``; ``true`` or ``false``.
``sentinel_username``, ``sentinel_password``
    For the sentinels themselves. The ones before the ``@`` are for the servers that they watch.
"""

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, unquote

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
TIMEOUT = 2.0


class RedisKind(enum.Enum):
    """Arrangement of the servers behind the URL."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class BadUrl(ValueError):
    """The URL is invalid. ``what`` (the error) and ``hint`` (what to write instead) never contain a password."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what} {hint}")
        self.what, self.hint = what, hint


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Parsed form of a URL. Its ``repr`` and ``str`` leave out the passwords."""

    kind: RedisKind
    hosts: tuple[tuple[str, int], ...] = ()
    socket: str | None = None
    service: str | None = None
    db: int = 0
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    ssl: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    prefix: str = "holdfast"
    timeout: float = TIMEOUT

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read ``url``; raises :class:`BadUrl`."""
        found = re.fullmatch(
            r"(?P<scheme>[a-zA-Z+]+)://(?P<place>[^/?#]*)(?P<path>[^?#]*)(\?(?P<query>.*))?", url
        )
        if found is None:
            raise BadUrl(
                "is not a URL of a Redis.",
                'Write for example "redis://localhost:6379/0"; what is special in a password is percent-encoded.',
            )
        if "@" in found["path"] + (found["query"] or "").partition("=")[0]:
            raise BadUrl(
                "has an @ behind the place of the host.",
                "Probably a password holds a / or ? or #: percent-encode it, as urllib.parse.quote(…, safe='') does.",
            )
        tls, form = _scheme(found["scheme"].lower())
        login, _, place = found["place"].rpartition("@")
        username, _, password = login.partition(":")
        options = _options(found["query"] or "", tls=tls, form=form)
        return cls(
            **_where(form, place, unquote(found["path"]), options),
            tls=tls,
            username=unquote(username) or None,
            password=unquote(password) or None,
            **options,
        )

    def __str__(self) -> str:
        scheme = "rediss" if self.tls else "redis"
        if self.socket is not None:
            return f"unix://{self.socket}?db={self.db}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        if self.kind is RedisKind.SINGLE:
            return f"{scheme}://{hosts}/{self.db}"
        path = f"/{self.service}/{self.db}" if self.kind is RedisKind.SENTINEL else ""
        return f"{scheme}+{self.kind.value}://{hosts}{path}"


_SCHEMES = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}
_FORMS = ("", "sentinel", "cluster")


def _scheme(scheme: str) -> tuple[bool, str]:
    """Return whether the scheme means TLS, and the form of the address that follows."""
    if scheme == "unix":
        return False, "unix"
    name, _, form = scheme.partition("+")
    if name not in _SCHEMES or form not in _FORMS:
        raise BadUrl(
            f'begins with "{scheme}://", which Holdfast does not support.',
            "Supported are redis://, rediss:// (TLS), unix://, redis+sentinel:// and redis+cluster://, and valkey for redis.",
        )
    return _SCHEMES[name], form


def _where(form: str, place: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    parts = [part for part in path.split("/") if part]
    if form == "unix":
        if place or not parts:
            raise BadUrl("does not name a socket.", 'Write the whole path: "unix:///run/redis/redis.sock".')
        return {"kind": RedisKind.SINGLE, "socket": path}
    if form == "sentinel":
        if not 1 <= len(parts) <= 2:
            raise BadUrl(
                "does not say which service the sentinels watch.",
                'Write its name after the hosts: "redis+sentinel://one:26379,two:26379/mymaster/0".',
            )
        hosts = _hosts(place, SENTINEL_PORT)
        return {
            "kind": RedisKind.SENTINEL,
            "hosts": hosts,
            "service": parts[0],
            "db": _db("".join(parts[1:])),
        }
    if form == "cluster":
        if "".join(parts) not in ("", "0"):
            raise BadUrl("names a database, but a cluster has only database 0.", "Leave out the path.")
        return {"kind": RedisKind.CLUSTER, "hosts": _hosts(place, DEFAULT_PORT)}
    hosts = _hosts(place, DEFAULT_PORT)
    if len(hosts) > 1:
        raise BadUrl("names several hosts.", "Say what they are: redis+sentinel:// or redis+cluster://.")
    if len(parts) > 1:
        raise BadUrl(f"has the path {path!r}.", "After the host comes only the number of a database: /0.")
    return {"kind": RedisKind.SINGLE, "hosts": hosts, "db": _db("".join(parts))}


def _hosts(place: str, default_port: int) -> tuple[tuple[str, int], ...]:
    return tuple(_host(part, default_port) for part in place.split(","))


def _host(part: str, default_port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[(?P<six>[0-9a-fA-F:.%]+)\]|(?P<name>[^:\[\]\s]*))(:(?P<port>\d+))?", part)
    if found is None or not 0 < int(found["port"] or default_port) < 65536:
        # The part itself is not named: a password that was not encoded may have ended up in it.
        raise BadUrl(
            "has a host or a port that cannot be read.",
            "Write host:port, an IPv6 address in brackets; what is special in a password is percent-encoded.",
        )
    return found["six"] or unquote(found["name"]) or "localhost", int(found["port"] or default_port)


def _db(text: str) -> int:
    if text and not text.isdecimal():
        raise BadUrl(
            f"has {text!r} where the number of the database belongs.", "Databases are numbered from 0."
        )
    return int(text or 0)


# ── what follows the question mark ───────────────────────────────────────────────────────────────────────────────────


def _one_of(*values: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return text.lower()

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise ValueError("a number of seconds above 0")
    return seconds


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ValueError("up to 64 letters, digits, periods, hyphens and underscores")
    return text


_READ: dict[str, Callable[[str], Any]] = {
    "prefix": _prefix,
    "timeout": _seconds,
    "db": _db,
    "sentinel_username": str,
    "sentinel_password": str,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_check_hostname": lambda text: _one_of("true", "false")(text) == "true",
}


def _options(query: str, *, tls: bool, form: str) -> dict[str, Any]:
    allowed = list(_allowed(tls=tls, form=form))
    options: dict[str, Any] = {}
    ssl: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            raise BadUrl(
                f"has the option {name!r}, which does not belong there.",
                f"Possible are: {', '.join(allowed)}.",
            )
        try:
            (ssl if name.startswith("ssl_") else options)[name] = _READ[name](text)
        except BadUrl:
            raise
        except ValueError as error:
            raise BadUrl(f"has an option {name!r} that cannot be read.", f"Expected: {error}.") from None
    return {**options, "ssl": MappingProxyType(ssl)}


def _allowed(*, tls: bool, form: str) -> Iterable[str]:
    for name in _READ:
        if name.startswith("ssl_"):
            fits = tls
        elif name.startswith("sentinel_"):
            fits = form == "sentinel"
        else:
            fits = name != "db" or form == "unix"
        if fits:
            yield name
