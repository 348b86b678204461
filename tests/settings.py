"""Django's settings for the tests.

Three databases, of which a run creates those that its selected tests ask for (tests/README.md):

- `default`   what a plain `django_db` test gets: SQLite, or PostgreSQL with `pytest --database postgres`;
- `sqlite`    always SQLite, in a real file, so that threads have connections of their own;
- `postgres`  always PostgreSQL, a server that the run starts for itself.

Importing this file starts and creates nothing: where the databases are is filled in by `tests.services.fixtures`.
"""

from typing import Any

#: A run creates only what it needs, so no database waits for `default` to be created first, as Django has it.
_ALONE: dict[str, list[str]] = {"DEPENDENCIES": []}


def _sqlite() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",  # what commands outside tests open; TEST.NAME becomes a file in the run's directory
        "OPTIONS": {
            # What docs recommend for production. IMMEDIATE makes writers queue instead of failing when a
            # transaction that began by reading wants to write (https://www.sqlite.org/isolation.html).
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
        "TEST": dict(_ALONE),
    }


def _postgres() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "holdfast",
        "OPTIONS": {},
        "TEST": dict(_ALONE),
    }


DATABASES = {
    "default": _sqlite(),
    "sqlite": _sqlite(),
    "postgres": _postgres(),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "holdfast",  # before staticfiles, for its runserver
    "holdfast.pad",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework.authtoken",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
SECRET_KEY = "only the tests are signed with this"
STATIC_URL = "/static/"
USE_TZ = True

# Hashing a password properly costs more than most tests.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
