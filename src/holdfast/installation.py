"""Installation: the processes of a machine that belong together, because they run one project on one database."""

import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from .backplane import folder as folders
from .database_checks import vendor_of

SALT = "holdfast.installation"


def is_private_database(database: dict[str, Any] | None) -> bool:
    """Return whether an entry of ``DATABASES`` is SQLite in memory, which no other process sees."""
    name = str((database or {}).get("NAME") or "")
    return (
        database is not None
        and vendor_of(database) == "sqlite"
        and (":memory:" in name or "mode=memory" in name)
    )


def folder(alias: str) -> Path | None:
    """Return the folder in which the processes of this installation find each other. ``alias`` names the log's database.
    ``None``: this process is an installation by itself, such as one that runs tests in memory.

    The folder is named after the user, ``SECRET_KEY`` and the database: a second project has another key, a test run has
    another database.
    """
    database: dict[str, Any] | None = django_settings.DATABASES.get(alias)
    if is_private_database(database):
        return None
    key = salted_hmac(SALT, _identity(database or {}), secret=_secret(), algorithm="sha256").hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"holdfast-{user}-{key}"


def unusable(alias: str) -> str | None:
    """Return why processes of this installation cannot find each other on this machine; ``None`` if they can."""
    path = folder(alias)
    try:
        if path is not None:
            folders.check(path)
    except folders.UnusableError as error:
        return str(error)
    return None


def _secret() -> str | bytes:
    """``SECRET_KEY``, which a script that only publishes may lack."""
    try:
        return django_settings.SECRET_KEY
    except ImproperlyConfigured:
        return ""


def _identity(database: dict[str, Any]) -> str:
    name = str(database.get("NAME") or "")
    if name and vendor_of(database) == "sqlite" and not name.startswith("file:"):
        name = str(Path(name).resolve())
    service = (database.get("OPTIONS") or {}).get("service", "")
    return "|".join([name, str(service), *(str(database.get(key) or "") for key in ("HOST", "PORT"))])
