"""Settings that the benches' Django projects share, for ``from bench.project import *``."""

import os
from typing import Any

DEBUG = False
SECRET_KEY = "nothing is signed here"
ALLOWED_HOSTS = ["127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True


def apps(own: str) -> list[str]:
    """The apps that Holdfast needs, and the project's own app."""
    return [
        "holdfast",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        own,
    ]


def sqlite() -> dict[str, Any]:
    """The database in the file BENCH_DATABASE, in WAL mode."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCH_DATABASE"],
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
