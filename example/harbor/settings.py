"""Settings of Harbor.

Everything that differs from one machine to the next comes from the environment, with defaults for the demo:

HARBOR_BOTS          1 (default) or 0: whether this server runs the demo's bots
HARBOR_CARRIER       the secret with which the carrier signs its webhook; without one there is no webhook
HARBOR_DEBUG         1 (default) or 0
HARBOR_SECRET_KEY    default: made once and kept in HARBOR_VAR
HARBOR_HOSTS         further host names that may be asked for, separated by commas
HARBOR_DATABASE      a path (SQLite) or postgres://user:password@host/name; default: a file in HARBOR_VAR
HARBOR_REDIS         the URL of a Redis, for several servers and for Celery; default: there is one server
HARBOR_VAR           the directory for what Harbor writes; default: var/ beside manage.py
"""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

from harbor.databases import database

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("HARBOR_VAR") or BASE_DIR / "var")


def kept_secret_key(file: Path) -> str:
    """The key in `file`, which is made on first use, so that sessions survive a restart."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(get_random_secret_key())
    except FileExistsError:
        pass
    return file.read_text()


DEBUG = os.environ.get("HARBOR_DEBUG", "1") == "1"
SECRET_KEY = os.environ.get("HARBOR_SECRET_KEY") or kept_secret_key(VAR / "secret-key")
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *filter(None, os.environ.get("HARBOR_HOSTS", "").split(",")),
]

INSTALLED_APPS = [
    "holdfast",  # before staticfiles: its runserver serves live topics too
    "holdfast.pad",
    "harbor",
    "chat",
    "pad",
    "orders",
    "notices",
    "logbook",
    "race",
    "bridge",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",  # a page is read on a slow line too
    "django.middleware.security.SecurityMiddleware",
    "harbor.security.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "harbor.pages.FriendlyRefusals",
]
ROOT_URLCONF = "harbor.urls"
ASGI_APPLICATION = "harbor.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "harbor.navigation.navigation",
                "notices.context.bell",
            ],
        },
    },
]

DATABASES = {"default": database(os.environ.get("HARBOR_DATABASE") or str(VAR / "harbor.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# With a Redis there may be several servers, and Celery workers.
REDIS = os.environ.get("HARBOR_REDIS") or None
# Without Redis: one server, one machine.
HOLDFAST = {"REDIS": REDIS} if REDIS else {"BACKPLANE": "local", "PRESENCE": "memory"}
CELERY_BROKER_URL = REDIS
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# The key with which the carrier signs its webhook.
CARRIER_SECRET = os.environ.get("HARBOR_CARRIER")

# Whether this process runs the bots. A fleet has them in a process of their own.
BOTS = os.environ.get("HARBOR_BOTS", "1") == "1"

# The seeded users bypass these: `seed` sets their well-known password directly.
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:rooms"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"  # the pages show every reader their own
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"
