"""System checks of the settings, the project around Holdfast and its topics. ``docs/errors.md`` lists them all."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import CompositePrimaryKey
from django.utils.module_loading import import_string

from . import conf, wiring
from .auth import origins
from .auth.base import Authenticator
from .backends import unmakeable
from .backplane.base import Backplane
from .database_checks import TAG, vendor_of
from .log.base import Log
from .log.routing import refusing_router
from .presence.base import PresenceStore
from .topics.declaration import Mode
from .topics.registry import registry
from .topics.topic import Topic

LOGS = ("database", "memory", "redis")
BACKPLANES = ("auto", "channels", "local", "memory", "redis")
PRESENCES = ("auto", "memory", "redis")
AUTHENTICATORS = ("session", "ticket")

SQLITE_OPTIONS = (
    '"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, '
    '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'
)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@register(TAG)
def check_settings(**kwargs: Any) -> Sequence[CheckMessage]:
    """Are the keys of ``HOLDFAST`` settings, and do their values fit?"""
    settings, problems = conf.read(getattr(django_settings, conf.NAME, {}))
    messages: list[CheckMessage] = [
        Error(problem.what, hint=problem.hint, id="holdfast.E001" if problem.unknown else "holdfast.E002")
        for problem in problems
    ]
    if settings.log not in LOGS:
        messages += _loads("LOG", settings.log, LOGS, lambda found: _is_subclass(found, Log))
    if settings.backplane not in BACKPLANES:
        messages += _loads(
            "BACKPLANE", settings.backplane, BACKPLANES, lambda found: _is_subclass(found, Backplane)
        )
    if settings.presence not in PRESENCES:
        messages += _loads(
            "PRESENCE", settings.presence, PRESENCES, lambda found: _is_subclass(found, PresenceStore)
        )
    for name in settings.authenticator:
        if name not in AUTHENTICATORS:
            messages += _loads(
                "AUTHENTICATOR", name, AUTHENTICATORS, lambda found: _is_subclass(found, Authenticator)
            )
    if settings.token_authenticator is not None:
        messages += _loads("TOKEN_AUTHENTICATOR", settings.token_authenticator, (), callable)
    if settings.handler_context is not None:
        messages += _loads("HANDLER_CONTEXT", settings.handler_context, (), callable)
    return messages


def _is_subclass(found: object, base: type) -> bool:
    return isinstance(found, type) and issubclass(found, base)


def _loads(
    key: str, path: str, names: Sequence[str], fits: Callable[[object], bool]
) -> Iterator[CheckMessage]:
    kinds = {
        "AUTHENTICATOR": "a subclass of holdfast.auth.base.Authenticator",
        "LOG": "a subclass of holdfast.log.base.Log",
        "BACKPLANE": "a subclass of holdfast.backplane.base.Backplane",
        "PRESENCE": "a subclass of holdfast.presence.base.PresenceStore",
    }
    expected = ", ".join(
        [*(f'"{name}"' for name in names), f"the dotted path of {kinds.get(key, 'a function')}"]
    )
    try:
        found = import_string(path)
    except ImportError as error:
        yield Error(
            f'{conf.NAME}["{key}"] is {path!r}, which cannot be imported: {error}.',
            hint=f"Expected: {expected}.",
            id="holdfast.E002",
        )
        return
    if not fits(found):
        yield Error(
            f'{conf.NAME}["{key}"] is {path!r}, which is {found!r}.',
            hint=f"Expected: {expected}.",
            id="holdfast.E002",
        )
    elif key in kinds and (bad := unmakeable(path, found)):
        yield Error(f'{conf.NAME}["{key}"] {bad.what}', hint=bad.hint, id="holdfast.E002")


@register(TAG)
def check_extras(**kwargs: Any) -> Sequence[CheckMessage]:
    """Are the packages installed that the settings need?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    return [
        Error(want.problem, hint=want.hint, id="holdfast.E013")
        for want in wiring.wanted_extras(settings)
        if want.missing
    ]


@register(TAG)
def check_database(**kwargs: Any) -> Sequence[CheckMessage]:
    """Does the log's database exist? If it is SQLite and holds the log, is it configured for several processes?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    database = django_settings.DATABASES.get(settings.database)
    if database is None:
        return [
            Error(
                f'{conf.NAME}["DATABASE"] is {settings.database!r}, which is not among DATABASES.',
                hint=f"Choose one of: {', '.join(repr(alias) for alias in django_settings.DATABASES)}.",
                id="holdfast.E003",
            )
        ]
    holds_log = settings.log == "database"
    return _sqlite(settings.database, database) if holds_log and vendor_of(database) == "sqlite" else []


def _sqlite(alias: str, database: dict[str, Any]) -> Sequence[CheckMessage]:
    options = database.get("OPTIONS", {})
    statements = str(options.get("init_command", "")).lower().replace(" ", "")
    missing = []
    if "journal_mode=wal" not in statements:
        missing.append("write-ahead logging (without it every reader waits for every writer)")
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        missing.append(
            'transaction_mode "IMMEDIATE" (without it concurrent writers fail with "database is locked")'
        )
    if not missing:
        return []
    return [
        Warning(
            f"DATABASES[{alias!r}] is SQLite and holds the log of durable topics, but lacks {' and '.join(missing)}.",
            hint=f"Add to DATABASES[{alias!r}]: {SQLITE_OPTIONS}",
            id="holdfast.W002",
        )
    ]


@register(TAG, Tags.database)
def check_tables(databases: Sequence[str] | None = None, **kwargs: Any) -> Sequence[CheckMessage]:
    """Do the log's tables exist? Only a warning, because ``migrate`` runs this check before it creates them."""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    if settings.log != "database" or settings.database not in (databases or ()):
        return []
    tables = set(connections[settings.database].introspection.table_names())
    wanted = {model._meta.db_table for model in apps.get_app_config("holdfast").get_models()}
    missing = sorted(wanted - tables)
    if not missing or not tables:  # an empty database is being migrated
        return []
    if refusing_router(settings.database) is not None:
        return []  # W015 says so, and `migrate` would not help
    using = "" if settings.database == "default" else f" --database {settings.database}"
    return [
        Warning(
            f"The database {settings.database!r} lacks the tables of Holdfast's log: {', '.join(missing)}.",
            hint=f"Run: manage.py migrate holdfast{using}",
            id="holdfast.W003",
        )
    ]


@register(TAG)
def check_authenticators(**kwargs: Any) -> Sequence[CheckMessage]:
    """Do the authenticators take their options, and do the options keep strangers out?"""
    settings, problems = conf.read(getattr(django_settings, conf.NAME, {}))
    if problems or any(want.missing for want in wiring.wanted_extras(settings)):
        return []
    try:
        return wiring.build_authenticator(settings).check()
    except ImproperlyConfigured as error:
        return [
            Error(
                f'{conf.NAME}["AUTHENTICATOR"]: {error}',
                hint="docs/how-to/authentication.md shows the options of each authenticator.",
                id="holdfast.E036",
            )
        ]
    except ImportError:
        return []  # E002 says so


# ── the project ────────────────────────────────────────────────────────────────────────────────────────────


@register(TAG)
def check_order_of_apps(**kwargs: Any) -> Sequence[CheckMessage]:
    """Is Holdfast listed first? Django takes the ``runserver`` of the first app that has one."""
    order = [config.name for config in apps.get_app_configs()]
    after = [
        name
        for name in ("daphne", "django.contrib.staticfiles")
        if name in order and order.index(name) < order.index("holdfast")
    ]
    if not after:
        return []
    return [
        Warning(
            f'INSTALLED_APPS lists "holdfast" after "{name}", whose runserver takes the place of Holdfast\'s.',
            hint=f'Move "holdfast" above "{name}"; otherwise runserver may serve no WebSocket.',
            id="holdfast.W006",
        )
        for name in after
    ]


@register(TAG)
def check_origins(**kwargs: Any) -> Sequence[CheckMessage]:
    """May pages of any site connect with the sessions of this site's visitors?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    if origins.ANY not in (settings.origins or ()) or not apps.is_installed("django.contrib.sessions"):
        return []
    return [
        Warning(
            f'{conf.NAME}["ORIGINS"] lets pages of any site connect with the session of their visitor.',
            hint='List the sites, such as "https://app.example.com", or sign users in by tokens only and silence this.',
            id="holdfast.W023",
        )
    ]


@register(TAG)
def check_users(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can a connection belong to a signed-in user?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    missing = [
        name for name in ("django.contrib.auth", "django.contrib.sessions") if not apps.is_installed(name)
    ]
    other_ways = settings.token_authenticator is not None or settings.authenticator != ("session",)
    if not missing or other_ways:
        return []
    return [
        Warning(
            f"INSTALLED_APPS lacks {' and '.join(missing)}, so every connection is anonymous.",
            hint=f'Add them, or say with {conf.NAME} = {{"TOKEN_AUTHENTICATOR": "accounts.tokens.user"}} which user a token belongs to.',
            id="holdfast.W007",
        )
    ]


@register(TAG)
def check_user_key(**kwargs: Any) -> Sequence[CheckMessage]:
    """Is the primary key of users a single value?"""
    if not apps.is_installed("django.contrib.auth"):
        return []
    model = get_user_model()
    if not isinstance(model._meta.pk, CompositePrimaryKey):
        return []
    return [
        Error(
            f"{model._meta.label} has a composite primary key, but Holdfast identifies users by the text of one value.",
            hint="Give the user model a primary key of one field, and make the other fields a UniqueConstraint.",
            obj=model,
            id="holdfast.E009",
        )
    ]


# ── topics ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@register(TAG)
def check_topics(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can each topic be joined, and does its route belong to it alone?"""
    messages: list[CheckMessage] = []
    shapes: dict[str, type[Topic]] = {}
    for topic in registry.topics():
        messages += _rules(topic)
        first = shapes.setdefault(topic.declared.route.shape, topic)
        if first is not topic:
            messages.append(_same_route(first, topic))
    return messages


def _rules(topic: type[Topic]) -> Iterator[CheckMessage]:
    if topic.declared.may_join is None:
        yield Warning(
            f"{topic.__qualname__} has no may_join method, so no user can join it.",
            hint="Define who may join: def may_join(self, user): return user.is_authenticated",
            obj=topic,
            id="holdfast.W001",
        )
    if topic.declared.durable and topic.declared.snapshot is Mode.LOOP:
        yield Error(
            f"{topic.__qualname__}.snapshot is an async def, but the topic is durable.",
            hint="Write it as a def: it is read in one transaction together with the position, so that the two agree.",
            obj=topic,
            id="holdfast.E006",
        )


def _same_route(first: type[Topic], second: type[Topic]) -> CheckMessage:
    return Error(
        f"{second.__module__}.{second.__qualname__} has the route {second.route!r}, and so has "
        f"{first.__module__}.{first.__qualname__} ({first.route!r}): the second topic can never be reached.",
        hint=f"Give {second.__qualname__} another route.",
        obj=second,
        id="holdfast.E005",
    )
