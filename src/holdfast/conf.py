"""Settings: one dict, ``HOLDFAST``, in which every key may be left out.

::

    HOLDFAST = {
        "BACKPLANE": "channels",
        "TOPICS_PER_CONNECTION": 200,
    }
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from msgspec import Meta

from holdfast.auth import origins
from holdfast.auth.publishing_key import PublishingKey
from holdfast.limits.base import Rate
from holdfast.limits.networks import PRIVATE, Networks
from holdfast.redis.address import BadUrl, RedisAddress
from holdfast.topics.schema import Misfit

from .backends import Backend, BadBackend

NAME = "HOLDFAST"

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The checked settings of this process. In the dict their names are in capitals."""

    path: Annotated[str, Meta(pattern=r"^([^/\s]+/)+$")] = "live/"
    """The path below which the live URLs are, written as in ``urls.py``. By default the WebSocket is at ``/live/ws``."""

    database: Annotated[str, Meta(min_length=1)] = "default"
    """The alias in ``DATABASES`` that holds the log. Events commit together with what is written to this database."""

    log: Annotated[str, Meta(min_length=1)] = "database"
    """Where events of durable topics are stored: ``"database"``, ``"redis"`` (in the server that ``REDIS`` names;
    ``docs/how-to/redis-log.md`` says what that does not promise), ``"memory"`` (lost when the process ends, for tests), or
    the dotted path of a subclass of ``holdfast.log.base.Log``. To pass keyword arguments to that class, write
    ``{"BACKEND": "shop.backends.Log", "OPTIONS": {"size": 5}}``."""

    redis: Annotated[str, Meta(min_length=1)] | None = None
    """The URL of a Redis or Valkey server, such as ``"redis://localhost:6379/0"``. For TLS, sentinels or a cluster see
    ``docs/how-to/redis.md``. ``None``: Redis is not used."""

    backplane: Annotated[str, Meta(min_length=1)] = "auto"
    """How processes send messages to each other: ``"local"`` (all on one machine, through UNIX sockets), ``"redis"``
    (through ``REDIS``), ``"memory"`` (one process only), ``"channels"`` (through ``CHANNEL_LAYERS``), the dotted path of a
    subclass of ``holdfast.backplane.base.Backplane`` (with options as for ``LOG``), or ``"auto"``: Redis if ``REDIS`` is set,
    else Channels if ``CHANNEL_LAYERS`` names a layer other than the in-memory one, else local."""

    presence: Annotated[str, Meta(min_length=1)] = "auto"
    """Where the members of topics with a ``presence`` are stored: ``"redis"`` (in the server that ``REDIS`` names),
    ``"memory"`` (each process stores its own members only), the dotted path of a subclass of
    ``holdfast.presence.base.PresenceStore`` (with options as for ``LOG``), or ``"auto"``: Redis if ``REDIS`` is set, else
    memory."""

    presence_lease_seconds: Seconds = 15.0
    """Seconds without a heartbeat after which the members of a server are removed. Servers send a heartbeat every third of
    this."""

    reconcile_seconds: Seconds = 2.0
    """Seconds between two comparisons of a process's durable topics with the log. A lost message between processes delays
    an event by at most this."""

    heartbeat_seconds: Seconds = 25.0
    """Seconds without a message after which a client sends a heartbeat. Give it at least 5, so that a client has the time to
    answer. Proxies often close a silent connection after 60."""

    message_bytes: Count = 65536
    """The largest message that a client may send, in bytes."""

    event_bytes: Count = 1_000_000
    """The largest event that may be published, in bytes of JSON. The ASGI servers of all subscribers must be able to send it."""

    topics_per_connection: Count = 100
    """Topics that one connection may have joined at the same time."""

    calls_per_connection: Count = 32
    """Calls of one connection that may be unfinished at the same time: they run, or they wait for a thread."""

    calls_per_user: Count = 100
    """Unfinished calls of one user in one process, over all connections. Anonymous clients of one address count as one user.
    So do posted calls of one address whose bodies are still on their way. Further calls get ``too_many_calls``."""

    calls_at_once: Count = 1000
    """Unfinished calls of all users in one process. Further calls get ``unavailable``. A user may have at most as many as are
    left for others."""

    message_rate: str = "50/s"
    """Messages that one connection may send, on average: ``"50/s"``, ``"3000/m"``."""

    message_burst: Count = 100
    """Messages that one connection may send at once, before ``MESSAGE_RATE`` limits it."""

    byte_rate: str = "256000/s"
    """Bytes that one connection may send, on average."""

    byte_burst: Count = 2_000_000
    """Bytes that one connection may send at once, before ``BYTE_RATE`` limits it."""

    join_rate: str = "20/s"
    """Topics that one connection may join, on average. As many as ``TOPICS_PER_CONNECTION`` may be joined at once."""

    hello_seconds: Seconds = 10.0
    """Seconds in which a client has to send its first message. A connection that stays silent is closed."""

    connections_per_user: Count | None = 100
    """Connections that one user may have, in all processes if ``REDIS`` is set, else in each. ``None``: no limit."""

    connections_per_address: Count | None = 1000
    """Connections that one address may have; an IPv6 address counts with its /64 network. In all processes if ``REDIS`` is
    set, else in each. Of ``EXEMPT_NETWORKS`` none is limited. ``None``: no limit."""

    handshakes_per_address: Annotated[str, Meta(min_length=1)] | None = "300/10s"
    """Connections that one address may open: 300 at once, then 30 a second. Counted as ``CONNECTIONS_PER_ADDRESS`` is. ``None``:
    no limit."""

    handshake_rate: Annotated[str, Meta(min_length=1)] | None = "5000/10s"
    """Connections that may be opened in one process: 5,000 at once, then 500 a second. Others are refused with 503 and come
    back. ``None``: no limit."""

    rates_per_user: Annotated[float, Meta(ge=1)] | None = 3.0
    """Messages, bytes and joins of all connections of one user in one process, as a multiple of what one connection may send.
    ``None``: no limit."""

    rates_per_address: Annotated[float, Meta(ge=1)] | None = 6.0
    """The same for all anonymous connections of one address. ``None``: no limit."""

    members_per_address: Count | None = 50
    """Anonymous members of a topic that one address may be. Once an address has more connections in a process, anonymous
    clients that join from there are one member together, so that no client fills a public list by opening connections.
    ``None``: no limit."""

    failed_tokens: Annotated[str, Meta(min_length=1)] | None = "20/m"
    """Tokens and tickets of one address that may be not valid. Beyond that rate one from there is refused without a look: a
    handshake or a POST with 429, a token of a ``hello`` or ``refresh`` with ``unavailable``. ``None``: no limit."""

    exempt_networks: tuple[str, ...] = (PRIVATE,)
    """Networks whose addresses have no limits per address: ``"10.0.0.0/8"``, ``"2001:db8::/32"``, or ``"private"`` for
    loopback, private and link-local addresses. A server that sees a private address usually sees a proxy that it does not
    trust, and all clients would share its limits (``docs/how-to/deploy.md``)."""

    join_read_rate: str = "300/10s"
    """Reads that the joins of one user may cause, or those of one address for anonymous clients: ``"300/10s"``. A page of the log, a
    snapshot, and each 64 KiB of a list of members count as one read. Joins that share a read with others are free. Beyond
    the rate a join is answered with ``rate_limited``, and the client tries again later."""

    snapshot_cache_seconds: Annotated[float, Meta(ge=0)] = 1.0
    """Seconds for which the ``snapshot`` of a durable topic is reused while the topic has no new event. Joins at the same time share
    one snapshot in any case. 0: no reuse."""

    handler_threads: Count = 16
    """``def`` handlers that may run at the same time in one process. As many ``async def`` handlers may use the ORM at the
    same time. Each may hold its own database connection. A quarter of the threads is kept free of actions, for rules, tokens
    and re-checks; one user's actions use at most as many threads as are free for others."""

    idempotency_hours: Annotated[float, Meta(gt=0)] = 24.0
    """Hours for which the answer to a signed-in user's call is kept. A client that sends a call again within this time gets
    the stored answer, and the action does not run again. The servers delete older answers, and so does
    ``manage.py holdfast trim``; in Redis they expire."""

    anonymous_idempotency_minutes: Annotated[float, Meta(gt=0)] = 10.0
    """The same for the calls of anonymous clients, in minutes."""

    answers_per_user: Count = 5000
    """Results of calls that are stored for one user. Each result is kept for a minute at least; of older ones, the servers
    delete the oldest beyond this number. A user who makes more calls than this in a minute gets ``rate_limited``, and so do the
    anonymous clients of one address who make more in ``ANONYMOUS_IDEMPOTENCY_MINUTES``."""

    answer_bytes_per_user: Count = 5_000_000
    """The same as ``ANSWERS_PER_USER``, in bytes of JSON. Each result counts 200 bytes more."""

    origins: tuple[str, ...] | None = None
    """Origins whose pages may connect, besides that of the request itself and those in ``CSRF_TRUSTED_ORIGINS``. The syntax is
    the same: ``"https://app.example.com"``, or ``"https://*.example.com"`` for a domain and all its subdomains. ``None``: no
    others. ``("*",)``: any origin."""

    authenticator: tuple[Annotated[str, Meta(min_length=1)], ...] = ("session",)
    """Finds out who opens a connection, and at each re-check whether that still holds: ``"session"`` (the session of the
    handshake's cookie), ``"ticket"`` (the single-use ticket in the URL), or the dotted path of a subclass of ``holdfast.auth.base.Authenticator`` (with options as for ``LOG``),
    such as ``"holdfast.auth.jwt.JwtAuthenticator"``. Several of them in a list are used side by side: the credential of a request
    decides which one is asked (``docs/how-to/authentication.md``)."""

    token_authenticator: Annotated[str, Meta(min_length=1)] | None = None
    """The dotted path of a function, ``def`` or ``async def``, that takes the token of a ``hello`` and returns its user, a
    ``holdfast.Identity`` (a user with claims or an expiry), or ``None`` if the token is not valid. The function is asked before
    the token authenticators of ``AUTHENTICATOR``. ``None``: tokens go to ``AUTHENTICATOR``, and ``"session"`` accepts none."""

    ticket_seconds: Seconds = 30.0
    """Seconds for which a connection ticket can be used (``"ticket"`` in ``AUTHENTICATOR``)."""

    handler_context: Annotated[str, Meta(min_length=1)] | None = None
    """The dotted path of a function that takes a ``holdfast.HandlerInfo`` and returns a context manager. It is entered around
    every handler, and around the reading of sessions and users, in the thread that uses the ORM. It can choose a tenant's
    schema, for example (``docs/how-to/tenants.md``). ``None``: no context manager."""

    publishing_keys: tuple[PublishingKey, ...] = ()
    """Services that may publish by POST to ``/live/publish``, each a dict with ``NAME``, ``KEYS`` (secrets of at least 32
    characters, of which the second serves a change), ``TOPICS`` (names, with ``*`` for any text), and, if wanted, ``RATE``
    (``"100/s"``) and ``SIGNED`` (requests carry an HMAC of their body instead of the secret). Empty: the endpoint is off."""

    write_buffer_bytes: Count = 262144
    """Bytes that may wait in the write buffer of one connection before its client counts as slow."""

    stall_seconds: Seconds = 30.0
    """Seconds that a slow client may read nothing at all before its connection is closed."""

    drain_seconds: Annotated[float, Meta(ge=0)] = 20.0
    """Seconds over which a stopping server hands its connections off to other servers, a few at a time. 0: all at once."""

    permission_cache_seconds: Annotated[float, Meta(ge=0)] = 1.0
    """Seconds for which the answer of ``may_join`` is reused for calls on a joined topic. 0: every call asks again."""

    reauthorize_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """Seconds between two re-checks of each open connection: is its session still valid, is its user still active, does
    ``may_join`` still agree? The re-check finds changes that sent no signal. 0: never."""

    revoke_on_user_signals: bool = True
    """Do Django's signals for logouts, new passwords, deactivated and deleted users, and changes of groups and permissions
    take effect on live connections at once?"""

    group_events: bool = True
    """Are messages that other code sends to a topic's group with ``group_send`` delivered to the topic's subscribers?"""

    @property
    def rate(self) -> Rate:
        """``message_rate`` as a value."""
        return Rate.parse(self.message_rate)

    @property
    def join_reads(self) -> Rate:
        """``join_read_rate`` as a value."""
        return Rate.parse(self.join_read_rate)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A mistake in the settings, and the way out."""

    what: str
    hint: str
    unknown: bool = False


BACKENDS = ("LOG", "BACKPLANE", "PRESENCE")
"""The settings that name a backend, which may have options. ``AUTHENTICATOR`` names one or several."""

RATES = (
    "MESSAGE_RATE",
    "BYTE_RATE",
    "JOIN_RATE",
    "JOIN_READ_RATE",
    "HANDSHAKE_RATE",
    "HANDSHAKES_PER_ADDRESS",
    "FAILED_TOKENS",
)
"""The settings that are rates (:class:`~holdfast.limits.base.Rate`)."""

_FIELDS = {field.name.upper(): field for field in msgspec.structs.fields(Settings)}


def read(given: Any) -> tuple[Settings, list[Problem]]:
    """Read the dict. Return the settings and the mistakes; a key with a mistake has its default value."""
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        return Settings(), [
            Problem(
                what=f"{NAME} is a {kind}, not a dict.", hint=f'Write {NAME} = {{"DATABASE": "default"}}.'
            )
        ]
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in given.items():
        if key not in _FIELDS:
            problems.append(_unknown(key))
            continue
        try:
            if key in BACKENDS and isinstance(value, Mapping):
                value = Backend.parse(value)
            elif key == "AUTHENTICATOR":
                value = _several(value)
            checked = value if isinstance(value, Backend) else msgspec.convert(value, _FIELDS[key].type)
            if key in RATES and checked is not None:
                Rate.parse(checked)
            elif key == "EXEMPT_NETWORKS":
                Networks(checked)
            elif key == "PUBLISHING_KEYS":
                for publisher in cast("tuple[PublishingKey, ...]", checked):
                    Rate.parse(publisher.rate)
            elif key == "REDIS" and checked is not None:
                RedisAddress.parse(checked)
            elif key == "ORIGINS":
                for origin in checked or ():
                    if origin != origins.ANY:
                        origins.Pattern.parse(origin)
        except (
            BadUrl,
            BadBackend,
            origins.BadOrigin,
        ) as error:  # what it says names no password; the value would
            problems.append(Problem(what=f'{NAME}["{key}"] {error.what}', hint=error.hint))
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(_misfit(key, value, error))
        else:
            values[_FIELDS[key].name] = checked
    return Settings(**values), problems


def _several(value: object) -> object:
    """Return the backends of a setting that takes one or a list of them."""
    many = value if isinstance(value, list | tuple) else [value]
    if not many:
        raise BadBackend("is an empty list.", 'Leave it out for the default, "session".')
    return tuple(Backend.parse(each) if isinstance(each, Mapping) else each for each in many)


def _unknown(key: object) -> Problem:
    near = difflib.get_close_matches(str(key).upper(), _FIELDS, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"Known settings: {', '.join(sorted(_FIELDS))}."
    return Problem(what=f"{NAME} has the key {key!r}, which is not a setting.", hint=hint, unknown=True)


def _misfit(key: str, value: object, error: Exception) -> Problem:
    default = _FIELDS[key].default
    # It may have a password in it.
    shown = f"of the type {type(value).__name__}" if key in ("REDIS", "PUBLISHING_KEYS") else repr(value)
    return Problem(
        what=f'{NAME}["{key}"] is {shown}: {Misfit.of(error).what}.',
        hint=f'Leave it out for the default, "{key}": {default!r}, or give it a value of that kind.',
    )


_current: Settings | None = None


def settings() -> Settings:
    """Return the settings of this process.

    Raises ``ImproperlyConfigured``, which names every mistake in the dict. The value is cached until the setting changes
    (``override_settings`` in tests).
    """
    global _current
    if _current is None:
        value, problems = read(getattr(django_settings, NAME, {}))
        if problems:
            raise ImproperlyConfigured(" ".join(f"{problem.what} {problem.hint}" for problem in problems))
        _current = value
    return _current


def _forget(*, setting: str, **kwargs: object) -> None:
    global _current
    if setting == NAME:
        _current = None


setting_changed.connect(_forget, dispatch_uid="holdfast.conf")
