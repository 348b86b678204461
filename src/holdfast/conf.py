"""The settings: one dict, ``HOLDFAST``, every key of which may be left out.

::

    HOLDFAST = {
        "BACKPLANE": "channels",
        "TOPICS_PER_CONNECTION": 200,
    }
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from msgspec import Meta

from holdfast import origins
from holdfast.limits.base import Rate
from holdfast.stores.address import BadUrl, RedisAddress
from holdfast.topics.schema import Misfit

from .backends import Backend, BadBackend

NAME = "HOLDFAST"

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of this process, checked. In the dict their names are in capitals."""

    path: Annotated[str, Meta(pattern=r"^([^/\s]+/)+$")] = "live/"
    """Where the live URLs begin, as in ``urls.py``: the WebSocket is at ``/live/ws``."""

    database: Annotated[str, Meta(min_length=1)] = "default"
    """The alias in ``DATABASES`` that holds the log. Events commit together with what is written to this one."""

    log: Annotated[str, Meta(min_length=1)] = "database"
    """Where durable topics are kept: ``"database"``, ``"redis"`` (in the one that ``REDIS`` names: ``docs/how-to/redis-log.md``
    says what that does not promise), ``"memory"`` (lost when the process ends: for tests), or the dotted path of a
    subclass of ``holdfast.log.base.Log``. With keyword arguments for that class:
    ``{"BACKEND": "shop.backends.Log", "OPTIONS": {"size": 5}}``."""

    redis: Annotated[str, Meta(min_length=1)] | None = None
    """The URL of a Redis or Valkey: ``"redis://localhost:6379/0"``; with TLS, of sentinels or of a cluster, see
    ``docs/how-to/redis.md``. ``None``: nothing is kept there."""

    backplane: Annotated[str, Meta(min_length=1)] = "auto"
    """How processes reach each other: ``"local"`` (all on one machine, through UNIX sockets), ``"redis"`` (through ``REDIS``),
    ``"memory"`` (one process only), ``"channels"`` (through ``CHANNEL_LAYERS``), the dotted path of a subclass of
    ``holdfast.backplane.base.Backplane`` (with options as for ``LOG``), or ``"auto"``: Redis if ``REDIS`` is set, else Channels if
    ``CHANNEL_LAYERS`` names a layer other than the in-memory one, else local."""

    presence: Annotated[str, Meta(min_length=1)] = "auto"
    """Where it is kept who is in topics with a ``presence``: ``"redis"`` (in the one that ``REDIS`` names), ``"memory"`` (of
    each process for itself), the dotted path of a subclass of ``holdfast.presence.base.PresenceStore`` (with options as for ``LOG``), or ``"auto"``:
    Redis if ``REDIS`` is set, else memory."""

    presence_lease_seconds: Seconds = 15.0
    """After how long of silence the members of a server are taken for gone. Servers say three times as often that they
    live."""

    reconcile_seconds: Seconds = 2.0
    """How often a process compares its durable topics with the log: the longest that a lost wake-up delays an event."""

    heartbeat_seconds: Seconds = 25.0
    """How long a connection may be silent before it has to show that it lives; at least 5 leave a client the time to answer.
    Proxies often cut at 60."""

    message_bytes: Count = 65536
    """The largest message that a client may send, in bytes."""

    event_bytes: Count = 1_000_000
    """The largest event that may be published, in bytes of JSON. Every subscriber's server has to be able to send it."""

    topics_per_connection: Count = 100
    """How many topics one connection may have joined at once."""

    calls_per_connection: Count = 32
    """How many calls of one connection may be running at once."""

    message_rate: str = "50/s"
    """How many messages one connection may send in the long run."""

    message_burst: Count = 100
    """How many of them it may send at once."""

    handler_threads: Count = 16
    """How many ``def`` handlers may run at once in one process, and how many ``async def`` ones may use the ORM at once. Each
    may use a database connection of its own."""

    idempotency_hours: Annotated[float, Meta(gt=0)] = 24.0
    """How long the answers to calls are remembered, and so how much later a call may be sent again."""

    origins: tuple[str, ...] | None = None
    """Origins besides the server's own from whose pages browsers may connect, as in ``CSRF_TRUSTED_ORIGINS``:
    ``"https://app.example.com"``, or ``"https://*.example.com"`` for a domain and all its subdomains. ``None``: only those
    whose host is in ``ALLOWED_HOSTS``. ``("*",)``: any."""

    token_user: Annotated[str, Meta(min_length=1)] | None = None
    """The dotted path of a function, ``def`` or ``async def``, that takes the token of a ``hello`` and returns its user, or
    ``None`` if it is not valid. ``None``: there are no tokens, cookies say who it is."""

    handler_context: Annotated[str, Meta(min_length=1)] | None = None
    """The dotted path of a function that takes a ``holdfast.HandlerInfo`` and returns a context manager. It is entered around
    every handler, and around the reading of sessions and users, in the thread where the ORM is used: to choose a tenant's
    schema, for example (``docs/how-to/tenants.md``). ``None``: there is nothing around them."""

    write_buffer_bytes: Count = 262144
    """How much may wait in one connection's write buffer before its client counts as slow."""

    stall_seconds: Seconds = 30.0
    """How long a slow client may read nothing at all before its connection is closed."""

    drain_seconds: Annotated[float, Meta(ge=0)] = 20.0
    """How long a server that stops takes to hand its connections off to others, a few at a time. 0: all at once."""

    permission_cache_seconds: Annotated[float, Meta(ge=0)] = 1.0
    """For how long the answer of ``may_join`` is trusted before a call asks again. 0: every call asks."""

    reauthorize_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """How often a process asks again about everybody who stays: is the session still good, the user still active, what
    does ``may_join`` say? Finds what nothing told of. 0: never."""

    revoke_on_user_signals: bool = True
    """Do logouts, new passwords, deactivated and deleted users, and changes of groups and permissions count at once for
    live connections? (By Django's signals.)"""

    group_events: bool = True
    """Does what other code sends to a topic's group with ``group_send`` reach the topic's subscribers?"""

    @property
    def rate(self) -> Rate:
        """``message_rate``, read."""
        return Rate.parse(self.message_rate)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with the settings, and the way out."""

    what: str
    hint: str
    unknown: bool = False


BACKENDS = ("LOG", "BACKPLANE", "PRESENCE")
"""The settings that name a backend, which may have options."""

_FIELDS = {field.name.upper(): field for field in msgspec.structs.fields(Settings)}


def read(given: Any) -> tuple[Settings, list[Problem]]:
    """Read the dict; what is wrong in it is reported, and has its default in the settings returned."""
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
            checked = value if isinstance(value, Backend) else msgspec.convert(value, _FIELDS[key].type)
            if key == "MESSAGE_RATE":
                Rate.parse(checked)
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


def _unknown(key: object) -> Problem:
    near = difflib.get_close_matches(str(key).upper(), _FIELDS, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"Known settings: {', '.join(sorted(_FIELDS))}."
    return Problem(what=f"{NAME} has the key {key!r}, which is not a setting.", hint=hint, unknown=True)


def _misfit(key: str, value: object, error: Exception) -> Problem:
    default = _FIELDS[key].default
    shown = (
        f"of the type {type(value).__name__}" if key == "REDIS" else repr(value)
    )  # it may have a password in it
    return Problem(
        what=f'{NAME}["{key}"] is {shown}: {Misfit.of(error).what}.',
        hint=f'Leave it out for the default, "{key}": {default!r}, or give it a value of that kind.',
    )


_current: Settings | None = None


def settings() -> Settings:
    """The settings of this process.

    Raises ``ImproperlyConfigured``, naming everything that is wrong, when the dict has mistakes. What is returned is
    cached; ``override_settings`` in tests is honoured.
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
