"""Settings of the project that the servers serve.

LIVE_DATABASE    the SQLite file
LIVE_DATABASES   JSON: the DATABASES dict, in place of the SQLite file
LIVE_HOLDFAST    JSON: the HOLDFAST dict
LIVE_SCRIPT_NAME FORCE_SCRIPT_NAME
"""

import json
import os

DEBUG = False
SECRET_KEY = "only the tests are signed with this"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
CSRF_TRUSTED_ORIGINS = ["https://app.example.org"]
FORCE_SCRIPT_NAME = os.environ.get("LIVE_SCRIPT_NAME")
ROOT_URLCONF = "tests.asgi_servers.project.urls"
INSTALLED_APPS = [
    "holdfast",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "tests.asgi_servers.project.apps.ProjectConfig",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SQLITE = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("LIVE_DATABASE", ":memory:"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DATABASES = json.loads(os.environ.get("LIVE_DATABASES", "null")) or SQLITE
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True

HOLDFAST = json.loads(os.environ.get("LIVE_HOLDFAST", "{}"))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
