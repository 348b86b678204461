"""Extras of the distribution: their packages, and the error when a project lacks one.

``pip install holdfast`` installs all that serves live topics from one process. Redis, PostgreSQL and Channels' layer in Redis
need packages that only some projects use: ``pip install 'holdfast[redis,postgresql]'``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

PACKAGES: Mapping[str, Sequence[str]] = {
    "redis": ("hiredis", "redis"),
    "postgresql": ("psycopg",),
    "channels-redis": ("channels_redis",),
    "jwt": ("jwt", "cryptography"),
    "pad": ("pycrdt",),
}
"""The packages of each extra, by their import names."""

DRIVERS = ("psycopg", "psycopg2")
"""Drivers that Django's own backends for PostgreSQL take."""

POSTGRESQL = frozenset({"django.db.backends.postgresql", "django.contrib.gis.db.backends.postgis"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """An extra that a project's settings need."""

    extra: str
    because: str
    """The reason, as the beginning of a sentence: ``HOLDFAST["REDIS"] is set``."""

    @property
    def missing(self) -> Sequence[str]:
        """The packages of the extra that are not installed."""
        return [name for name in PACKAGES[self.extra] if find_spec(name) is None]

    @property
    def problem(self) -> str:
        missing = self.missing
        are = "this package is" if len(missing) == 1 else "these packages are"
        return f"{self.because}, but {are} not installed: {' and '.join(missing)}."

    @property
    def hint(self) -> str:
        return f"Run: pip install 'holdfast[{self.extra}]'"

    def require(self) -> None:
        """Raise ``ImproperlyConfigured`` if a package of the extra is missing."""
        if self.missing:
            raise ImproperlyConfigured(f"{self.problem} {self.hint}")


def require_database_driver(databases: Mapping[str, dict[str, Any]], aliases: Iterable[str]) -> None:
    """Raise ``ImproperlyConfigured`` if one of these databases is PostgreSQL and no driver for it is installed.

    Django itself would fail with the first model, long before system checks run, and would name only the drivers.
    """
    if any(find_spec(driver) for driver in DRIVERS):
        return
    for alias in sorted(aliases):
        # By name: another backend's module may not be imported before the apps are loaded.
        if databases.get(alias, {}).get("ENGINE") in POSTGRESQL:
            Want(extra="postgresql", because=f'DATABASES["{alias}"] is PostgreSQL').require()
