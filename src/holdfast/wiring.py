"""Composition root: builds the objects of a process from the settings. No other module does."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import installation, metrics
from . import runtime as runtimes
from .auth.base import Authenticator, CredentialKind
from .backends import options_of, unmakeable
from .backplane.base import Backplane
from .boundary_settings import boundary_of, limits_of
from .conf import NAME, Settings, settings
from .connections.manager import ConnectionManager, Policy, Share
from .connections.stored_answers import AnswerLimits
from .connections.unfinished import CallLimits
from .extras import Want
from .hub.hub import Timing
from .limits.base import Limiter
from .limits.memory import MemoryLimiter
from .log.base import Log
from .log.calls import CallStore
from .log.dialects import keeps_tables
from .presence.base import PresenceStore
from .runtime import SESSION_THREADS, Runtime
from .threads.handler_context import Around, HandlerInfo
from .threads.threads import Inline, Threads
from .topics.encoding import encode
from .topics.owner import ANONYMOUS
from .topics.registry import registry

if TYPE_CHECKING:
    from .log.announcement import Announce
    from .redis.client import RedisStore

logger = logging.getLogger("holdfast.wiring")

LOG_THREADS = 4

FRESH_SECONDS = 5.0
"""Seconds that a handshake may have been under way when the hub is started. Servers that speak the lifespan protocol start
the hub before they accept connections."""

_service: ConnectionManager | None = None


def install() -> None:
    """Let this process's runtime be built from the settings when it is first needed."""
    runtimes.install(build_runtime)


def _settings_changed(*, setting: str, **kwargs: object) -> None:
    """Discard what was built from the old settings (``override_settings`` in tests)."""
    if setting in (NAME, "CHANNEL_LAYERS"):
        install()


setting_changed.connect(_settings_changed, dispatch_uid="holdfast.wiring")


def build_runtime() -> Runtime:
    """Build the runtime that the settings describe. Raises ``ImproperlyConfigured`` if an extra is missing."""
    chosen = settings()
    for want in wanted_extras(chosen):
        want.require()
    backplane = build_backplane(chosen)
    log = build_log(chosen, announce=announce_by(backplane, chosen))
    around = handler_context(chosen)
    runtime = Runtime(
        log=log,
        backplane=backplane,
        threads=Threads(chosen.handler_threads, name="holdfast-handler", around=around),
        session_threads=Threads(
            SESSION_THREADS, name="holdfast-session", keep_connections=True, around=around
        ),
        log_threads=Threads(LOG_THREADS, name="holdfast-log", keep_connections=True)
        if log.blocking
        else Inline(),
        timing=Timing(
            compare=chosen.reconcile_seconds,
            lease=chosen.presence_lease_seconds,
            snapshot=chosen.snapshot_cache_seconds,
        ),
        group_events=group_event if chosen.group_events else None,
        event_bytes=chosen.event_bytes,
        presence=build_presence(chosen, backplane),
        counters=metrics.PROCESS,
    )
    _watch(runtime)
    return runtime


def _watch(runtime: Runtime) -> None:
    """Let :func:`holdfast.metrics.snapshot` read what the parts of the runtime count themselves."""
    metrics.watch("log_reads", lambda: runtime.log_reads)
    metrics.watch("roster_reads", lambda: runtime.roster_reads)
    metrics.watch("revocations_waiting", lambda: len(runtime.control.retry_queue))
    metrics.watch("backplane_lost", lambda: sum(getattr(runtime.backplane, "lost", {}).values()))


def handler_context(chosen: Settings) -> Around | None:
    """Return the project's function for the context manager around every handler."""
    if chosen.handler_context is None:
        return None
    make: Callable[[HandlerInfo], AbstractContextManager[Any]] = import_string(chosen.handler_context)
    return make


def announce_by(backplane: Backplane, chosen: Settings) -> "Announce | None":
    """Return the function by which a log in Redis announces events itself, if the backplane is in the same Redis."""
    if backplane_kind(chosen) != "redis":
        return None
    from .backplane.redis import RedisBackplane

    return backplane.announce if isinstance(backplane, RedisBackplane) else None


def build_log(chosen: Settings, *, announce: "Announce | None" = None) -> Log:
    """Build the log. Only the log in Redis uses ``announce``."""
    if chosen.log == "database":
        from .log.database import DatabaseLog

        return DatabaseLog(chosen.database)
    if chosen.log == "memory":
        from .log.memory import MemoryLog

        return MemoryLog()
    if chosen.log == "redis":
        from .log.redis import RedisLog

        store = redis_store(chosen, "LOG")
        return RedisLog(store, calls=build_calls(chosen, store), alias=chosen.database, announce=announce)
    log: Log = _made_from("LOG", chosen.log, Log)
    return log


def build_calls(chosen: Settings, store: "RedisStore") -> CallStore:
    """Build the store of call records that goes with a log in Redis.

    It is the database, where a ``def`` action's effects and its answer commit together. Where the database cannot hold the
    records (another vendor, a router that refuses the tables), it is the Redis of the log.
    """
    if keeps_tables(chosen.database):
        from .log.database_calls import DatabaseCalls

        return DatabaseCalls(chosen.database)
    from .log.redis_calls import RedisCalls

    return RedisCalls(
        store,
        chosen.database,
        chosen.idempotency_hours * 3600,
        brief=ANONYMOUS,
        brief_seconds=chosen.anonymous_idempotency_minutes * 60,
    )


def reaches_other_processes(chosen: Settings) -> bool:
    """Does the backplane reach other processes? The project's own backplanes and channel layers are assumed to."""
    kind = backplane_kind(chosen)
    if kind == "local":
        return (
            installation.folder(chosen.database) is not None
            and installation.unusable(chosen.database) is None
        )
    return kind != "memory" and not (kind == "channels" and has_in_memory_layer())


def has_in_memory_layer() -> bool:
    """Is the default channel layer the in-memory one of Channels, for one process?"""
    from .backplane.layers import is_in_memory

    return is_in_memory(getattr(django_settings, "CHANNEL_LAYERS", {}).get("default", {}))


def backplane_kind(chosen: Settings) -> str:
    """Resolve ``BACKPLANE``: what ``"auto"`` stands for."""
    if chosen.backplane != "auto":
        return chosen.backplane
    if chosen.redis is not None:
        return "redis"
    layers = getattr(django_settings, "CHANNEL_LAYERS", {})
    return "channels" if "default" in layers and not has_in_memory_layer() else "local"


def presence_kind(chosen: Settings) -> str:
    """Resolve ``PRESENCE``: what ``"auto"`` stands for."""
    if chosen.presence != "auto":
        return chosen.presence
    return "memory" if chosen.redis is None else "redis"


def wanted_extras(chosen: Settings) -> Iterator[Want]:
    """Yield the extras that the settings need, installed or not."""
    backplane = backplane_kind(chosen)
    if chosen.redis is not None:  # limits count there in any case
        yield Want(extra="redis", because=f'{NAME}["REDIS"] is set')
    if any(name.startswith("holdfast.auth.jwt.") for name in chosen.authenticator):
        yield Want(extra="jwt", because=f'{NAME}["AUTHENTICATOR"] has JwtAuthenticator')
    layer = getattr(django_settings, "CHANNEL_LAYERS", {}).get("default", {})
    if backplane == "channels" and str(layer.get("BACKEND", "")).startswith("channels_redis."):
        yield Want(extra="channels-redis", because='CHANNEL_LAYERS["default"] is in Redis')


def build_backplane(chosen: Settings) -> Backplane:
    backplane = _build_backplane(chosen, backplane_kind(chosen))
    if chosen.backplane == "auto" and chosen.redis is None and has_in_memory_layer():
        from channels.layers import get_channel_layer

        from .backplane.layers import WithGroups

        return WithGroups(backplane, get_channel_layer())
    return backplane


def _build_backplane(chosen: Settings, kind: str) -> Backplane:
    if kind == "memory":
        from .backplane.memory import MemoryBackplane

        return MemoryBackplane()
    if kind == "local":
        return _build_local(chosen.database)
    if kind == "redis":
        from .backplane.redis import RedisBackplane

        return RedisBackplane(redis_store(chosen, "BACKPLANE"))
    if kind == "channels":
        from .backplane.channels import ChannelsBackplane

        return ChannelsBackplane()
    backplane: Backplane = _made_from("BACKPLANE", kind, Backplane)
    return backplane


def _build_local(alias: str) -> Backplane:
    """Build the backplane between processes of this machine; log a warning and use memory where they cannot be reached."""
    from .backplane.local import LocalBackplane
    from .backplane.memory import MemoryBackplane

    path, reason = installation.folder(alias), installation.unusable(alias)
    if reason is not None:
        logger.warning(
            "This process does not reach the other processes of its machine: %s. Ephemeral events stay in the process that "
            "publishes them, and durable events arrive late. Remove the cause, or set REDIS in %s.",
            reason,
            NAME,
        )
    return MemoryBackplane() if path is None or reason is not None else LocalBackplane(path)


def build_presence(chosen: Settings, backplane: Backplane) -> PresenceStore:
    kind = presence_kind(chosen)
    if kind == "memory":
        from .presence.memory import MemoryPresence

        # An explicit PRESENCE = "memory" needs no warning.
        return MemoryPresence(has_others=backplane.has_others if chosen.presence == "auto" else None)
    if kind == "redis":
        from .presence.redis import RedisPresence

        return RedisPresence(redis_store(chosen, "PRESENCE"))
    presence: PresenceStore = _made_from("PRESENCE", kind, PresenceStore)
    return presence


def redis_store(chosen: Settings, key: str) -> "RedisStore":
    """Return the Redis that the settings name. ``key`` is the setting that needs it."""
    from .redis.client import RedisStore

    if chosen.redis is None:
        raise ImproperlyConfigured(
            f'{NAME}["{key}"] is "redis", but {NAME}["REDIS"] names none: give it a URL, such as '
            '"redis://localhost:6379/0".'
        )
    return RedisStore(chosen.redis)


def _made_from(setting: str, path: str, base: type) -> Any:
    found: Any = import_string(path)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ImproperlyConfigured(f'{NAME}["{setting}"]: {path} is not a subclass of {base.__qualname__}.')
    if bad := unmakeable(path, found):
        raise ImproperlyConfigured(f'{NAME}["{setting}"] {bad}')
    return found(**options_of(path))


def service() -> ConnectionManager:
    """Return the service of this process, which its connections share. It belongs to the current runtime."""
    global _service
    runtime = runtimes.current()
    if _service is None or _service.runtime is not runtime:
        chosen = settings()
        made = _service = build_service(
            runtime, chosen, shared=shared_counts(chosen) if chosen.redis else None
        )
        metrics.watch_connections(made.connections, made.connections.transports)
        metrics.watch("calls_running", lambda: made.calls.running)
    return _service


def shared_counts(chosen: Settings) -> Share:
    """Return the function that makes the counts in Redis."""
    from .limits.redis import RedisCounts

    return lambda boundary: RedisCounts(redis_store(chosen, "REDIS"), boundary.counts)


def build_service(
    runtime: Runtime,
    chosen: Settings,
    *,
    limiter: Limiter | None = None,
    policy: Policy | None = None,
    shared: Share | None = None,
) -> ConnectionManager:
    return ConnectionManager(
        runtime=runtime,
        registry=registry,
        limiter=limiter or MemoryLimiter(),
        policy=policy or policy_of(chosen),
        authenticator=build_authenticator(chosen),
        shared=shared,
    )


def policy_of(chosen: Settings) -> Policy:
    return Policy(
        limits=limits_of(chosen),
        boundary=boundary_of(chosen),
        recheck_seconds=chosen.permission_cache_seconds,
        stall_seconds=chosen.stall_seconds,
        drain_seconds=chosen.drain_seconds,
        write_buffer_bytes=chosen.write_buffer_bytes,
        reauthorize_seconds=chosen.reauthorize_seconds,
        calls=CallLimits(each=chosen.calls_per_user, all=chosen.calls_at_once),
        answers=AnswerLimits(
            count=chosen.answers_per_user,
            size=chosen.answer_bytes_per_user,
            seconds=chosen.idempotency_hours * 3600,
            anonymous_seconds=chosen.anonymous_idempotency_minutes * 60,
        ),
        fresh_seconds=FRESH_SECONDS,
        join_reads=chosen.join_reads,
    )


def build_authenticator(chosen: Settings) -> Authenticator:
    """Build the authenticator. Raises ``ImproperlyConfigured`` if one of the named ones does not take its options."""
    from .auth.chain import AuthenticatorChain
    from .auth.session import SessionAuthenticator
    from .auth.ticket import TicketAuthenticator
    from .auth.ticket_store import TicketStore
    from .auth.token import TokenAuthenticator

    made: list[Authenticator] = []
    if chosen.token_authenticator is not None:
        made.append(TokenAuthenticator(import_string(chosen.token_authenticator)))
    for name in chosen.authenticator:
        if name == "session":
            made.append(SessionAuthenticator())
        elif name == "ticket":
            made.append(TicketAuthenticator(TicketStore(chosen.database, chosen.ticket_seconds)))
        else:
            made.append(_made_from("AUTHENTICATOR", name, Authenticator))
    alone = len(made) == 1 and made[0].kind is CredentialKind.AMBIENT
    return made[0] if alone else AuthenticatorChain(made)


def group_event(topic: str, message: dict[str, object]) -> tuple[str, bytes] | None:
    """Turn a message that other code sent to a topic's group with ``group_send`` into an event.

    The message's ``type`` is the event's name on the wire. Its ``payload``, or without one all its other keys, are the
    event's fields. An event that the topic does not declare is dropped with a warning.
    """
    found = registry.by_name(topic)
    if found is None:
        return None
    name = str(message.get("type", ""))
    event = found.declared.events.get(name)
    if event is None:
        known = ", ".join(found.declared.events) or "none"
        logger.warning(
            "group_send to %s: the topic has no event %r (known: %s); message dropped", topic, name, known
        )
        return None
    payload = (
        message["payload"] if "payload" in message else {k: v for k, v in message.items() if k != "type"}
    )
    try:
        return name, event.decode(encode(payload)).encode()
    except (TypeError, ValueError) as error:
        logger.warning("group_send to %s: %s; message dropped", topic, error)
        return None
