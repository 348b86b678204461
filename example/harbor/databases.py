"""Database settings of Harbor: a file name or a URL becomes an entry of Django's DATABASES."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


def database(where: str) -> dict[str, Any]:
    """The settings for `where`, which is a path (SQLite) or `postgres://user:password@host:port/name?option=value`."""
    if where.startswith(("postgres://", "postgresql://")):
        return postgres(where)
    return sqlite(where)


def postgres(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def sqlite(path: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            # WAL lets readers work beside the writer. Writers queue for up to `timeout` seconds, and IMMEDIATE has
            # them queue when they begin instead of failing when they turn from reading to writing.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
