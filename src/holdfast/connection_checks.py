"""System checks about threads and their database connections: Django's pool, and tenants that have a schema each (django-tenants)."""

from collections.abc import Iterator, Sequence
from inspect import iscoroutinefunction
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own name
from django.utils.module_loading import import_string

from . import conf
from .database_checks import TAG
from .topics.declaration import Mode
from .topics.registry import registry
from .topics.topic import Topic

# ── Django's pool ────────────────────────────────────────────────────────────────────────────────────────────────────


@register(TAG)
def check_pool(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can handlers hold every connection of Django's pool while each of them waits for one more?

    A ``def`` handler waits for no other thread. An ``async def`` handler may: it iterates over a server-side cursor, which
    holds a connection, and publishes, which waits for a thread of the log. As many async handlers use the ORM at the same
    time as there are handler threads.
    """
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    pool = django_settings.DATABASES.get(settings.database, {}).get("OPTIONS", {}).get("pool")
    if not pool or settings.log != "database" or not _has_async_handlers(settings):
        return []
    most, needed = _most_connections(pool), settings.handler_threads + 1
    if most >= needed:
        return []
    return [
        Warning(
            f"The connection pool of DATABASES[{settings.database!r}] holds at most {most}. Each of "
            f"{settings.handler_threads} async handlers may hold one while it waits for another to write to the log: "
            f"the smallest pool that cannot lock up has {needed}.",
            hint=f'Set "pool": {{"max_size": {needed}}} (or more, for your views) in the OPTIONS of '
            f'DATABASES[{settings.database!r}], or lower {conf.NAME}["HANDLER_THREADS"] to {max(most - 1, 1)}.',
            id="holdfast.W010",
        )
    ]


@register(TAG)
def check_threads(**kwargs: Any) -> Sequence[CheckMessage]:
    """Is there a thread that actions cannot take from rules, tokens and re-checks?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    if settings.handler_threads > 1:
        return []
    return [
        Warning(
            "There is one handler thread. While a def action runs, no client can join a topic or use a token, and no "
            "permission is re-checked.",
            hint=f'Give {conf.NAME}["HANDLER_THREADS"] at least 2: a quarter of the threads, and one at least, is then kept '
            "free of actions.",
            id="holdfast.W032",
        )
    ]


@register(TAG)
def check_calls(**kwargs: Any) -> Sequence[CheckMessage]:
    """Do the bounds of calls leave room for one connection, and for more than one user?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    bounds = [
        ("CALLS_PER_USER", settings.calls_per_user, "CALLS_PER_CONNECTION", settings.calls_per_connection),
        ("CALLS_AT_ONCE", settings.calls_at_once, "CALLS_PER_USER", settings.calls_per_user),
    ]
    return [
        Warning(
            f"{conf.NAME}[{name!r}] is {value}, less than {smaller} ({least}), which therefore has no effect.",
            hint=f"Give {name} at least the value of {smaller}, or lower {smaller}.",
            id="holdfast.W033",
        )
        for name, value, smaller, least in bounds
        if value < least
    ]


def _most_connections(pool: Any) -> int:
    options = pool if isinstance(pool, dict) else {}
    least = options.get("min_size", 4)  # what psycopg_pool takes by default
    return int(options.get("max_size") or least)


def _has_async_handlers(settings: conf.Settings) -> bool:
    if settings.token_authenticator is not None and iscoroutinefunction(
        _imported(settings.token_authenticator)
    ):
        return True
    return any(_is_async(topic) for topic in registry.topics())


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError:
        return None  # E002 says so


def _is_async(topic: type[Topic]) -> bool:
    declared = topic.declared
    rules = (declared.may_join, declared.may_call, declared.snapshot, declared.presence_meta)
    return Mode.LOOP in rules or any(action.is_async for action in declared.actions.values())


# ── tenants ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@register(TAG)
def check_tenants(**kwargs: Any) -> Sequence[CheckMessage]:
    """With django-tenants: are the log's tables in the shared schema, and can the users of a tenant be found?"""
    if not apps.is_installed("django_tenants"):
        return []
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    shared, own = _shared_apps(), _tenant_apps()
    return [*_our_tables(shared, own), *_users_of_tenants(settings, shared, own)]


def _our_tables(shared: set[str], own: set[str]) -> Iterator[CheckMessage]:
    if "holdfast" in own or "holdfast" not in shared:
        where = "among the apps of tenants" if "holdfast" in own else "not among the shared apps"
        yield Error(
            f'"holdfast" is {where}. There is one log for all tenants, and its tables belong to the shared schema: what is '
            "written into a tenant's is never delivered.",
            hint='List "holdfast" in SHARED_APPS and only there, then run: manage.py migrate_schemas --shared',
            id="holdfast.E008",
        )


def _users_of_tenants(settings: conf.Settings, shared: set[str], own: set[str]) -> Iterator[CheckMessage]:
    models = apps.get_app_config(django_settings.AUTH_USER_MODEL.split(".")[0]).name
    of_tenants = [name for name in (models, "django.contrib.sessions") if name in own]
    if of_tenants and settings.handler_context is None:
        yield Warning(
            f"The tables of {' and '.join(of_tenants)} are in the schemas of tenants, but {conf.NAME} has no "
            '"HANDLER_CONTEXT": connections and handlers see the shared schema, which holds no user of a tenant.',
            hint="Choose the tenant's schema in a context manager: docs/how-to/tenants.md has one to copy.",
            id="holdfast.W011",
        )
    if models in own and _counts(django_settings.AUTH_USER_MODEL):
        yield Warning(
            f"Each tenant numbers its own users ({django_settings.AUTH_USER_MODEL}), so users of several tenants have the "
            "same primary key. For revocations and rates they are one user: disconnect(user), and a deleted user, concern "
            "the connections of all who have that key.",
            hint="Give the user model a UUID as its primary key, or keep users in the shared schema.",
            id="holdfast.W012",
        )


def _counts(model: str) -> bool:
    key = apps.get_model(model)._meta.pk
    return key is not None and key.db_returning


def _shared_apps() -> set[str]:
    types = getattr(django_settings, "TENANT_TYPES", None)
    if types is None:
        return _names(getattr(django_settings, "SHARED_APPS", ()))
    return _names(types.get(_public(), {}).get("APPS", ()))


def _tenant_apps() -> set[str]:
    types = getattr(django_settings, "TENANT_TYPES", None)
    if types is None:
        return _names(getattr(django_settings, "TENANT_APPS", ()))
    return {name for kind, of in types.items() if kind != _public() for name in _names(of.get("APPS", ()))}


def _public() -> str:
    name: str = getattr(django_settings, "PUBLIC_SCHEMA_NAME", "public")
    return name


def _names(entries: Sequence[str]) -> set[str]:
    """The packages of entries as in ``INSTALLED_APPS``, which may be paths of an ``AppConfig``."""
    by_config = {
        f"{type(config).__module__}.{type(config).__qualname__}": config.name
        for config in apps.get_app_configs()
    }
    return {by_config.get(entry, entry) for entry in entries}
