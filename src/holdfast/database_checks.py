"""System checks of the database that holds the log: its vendor, its autocommit mode, and routers that refuse the tables."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own name
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import load_backend

from . import conf
from .log.dialects import DIALECTS
from .log.routing import refusing_router

TAG = "holdfast"

NAMES = {
    "mysql": "MySQL or MariaDB",
    "oracle": "Oracle",
    "cockroachdb": "CockroachDB",
    "unknown": "no database",
}
"""Names of databases by Django's ``connection.vendor``."""

OTHER_PLACES = (
    f'Name an alias that is PostgreSQL or SQLite: {conf.NAME} = {{"DATABASE": "…"}} (events then commit with what is '
    'written there), or keep the log in Redis: {"LOG": "redis", "REDIS": "redis://localhost:6379/0"}.'
)


def vendor_of(database: dict[str, Any]) -> str | None:
    """Return the vendor of a database of ``DATABASES``, as its backend reports it: an engine may be a wrapper of any name.
    ``None`` if the backend cannot be loaded, which Django reports itself."""
    try:
        return str(load_backend(database.get("ENGINE") or "django.db.backends.dummy").DatabaseWrapper.vendor)
    except (ImproperlyConfigured, ImportError, AttributeError):
        return None


@register(TAG)
def check_log_database(**kwargs: Any) -> Sequence[CheckMessage]:
    """Check that the log can be kept in the database that the settings name."""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    database = django_settings.DATABASES.get(settings.database)
    if settings.log != "database" or database is None:
        return []
    vendor = vendor_of(database)
    if vendor is not None and vendor not in DIALECTS:
        return [
            Error(
                f"DATABASES[{settings.database!r}] is {NAMES.get(vendor, vendor)}, where the log of durable topics cannot be "
                "kept.",
                hint=OTHER_PLACES,
                id="holdfast.E011",
            )
        ]
    return [*_commits(settings.database, database), *_router(settings.database)]


def _commits(alias: str, database: dict[str, Any]) -> Iterator[CheckMessage]:
    if database.get("AUTOCOMMIT", True) is False:
        yield Error(
            f"DATABASES[{alias!r}] has AUTOCOMMIT off, so what the log writes outside of your transactions would never be "
            "committed.",
            hint=f'Remove "AUTOCOMMIT": False from DATABASES[{alias!r}]; use atomic() or ATOMIC_REQUESTS for transactions.',
            id="holdfast.E012",
        )


def _router(alias: str) -> Iterator[CheckMessage]:
    refusing = refusing_router(alias)
    if refusing is None:
        return
    others = [
        other for other in django_settings.DATABASES if other != alias and refusing_router(other) is None
    ]
    elsewhere = f' or set {conf.NAME} = {{"DATABASE": {others[0]!r}}}, where it may be' if others else ""
    yield Warning(
        f"The router {refusing} keeps the tables of Holdfast's log out of the database {alias!r}: `migrate` prints OK there "
        "and makes none.",
        hint=f'Let its allow_migrate({alias!r}, "holdfast") return True{elsewhere}; then run migrate. If it has recorded the '
        f"migrations already, run `manage.py migrate holdfast zero --database {alias}` first.",
        id="holdfast.W015",
    )
