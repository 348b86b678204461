"""Settings of the fleet's processes. The environment of each says which one it is.

FLEET_DATABASE   JSON: where PostgreSQL is, for this process
FLEET_REDIS      the URL of Redis, for this process
FLEET_BACKPLANE  redis, channels-core, channels-pubsub or none
FLEET_HOLDFAST   JSON: more of the HOLDFAST dict
FLEET_SABOTAGE   a promise to break on purpose (``sabotage.py``)
"""

import json
import os

DEBUG = False
SECRET_KEY = "only the tests are signed with this"
WEBHOOK_SECRET = "and their webhooks with this"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "tests.fleet.project.urls"
INSTALLED_APPS = [
    "holdfast",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "tests.fleet.project.apps.FleetConfig",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "OPTIONS": {"connect_timeout": 3},
        **json.loads(os.environ["FLEET_DATABASE"]),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True

REDIS = os.environ.get("FLEET_REDIS")
BACKPLANE = os.environ.get("FLEET_BACKPLANE", "redis")

HOLDFAST = {
    "RECONCILE_SECONDS": 1.0,
    "HEARTBEAT_SECONDS": 5,
    "MESSAGE_RATE": "1000/s",
    "MESSAGE_BURST": 1000,
    "JOIN_RATE": "1000/s",
    # Small, so that clients who read rarely fall behind within seconds.
    "WRITE_BUFFER_BYTES": 16384,
    "STALL_SECONDS": 12,
    "PRESENCE_LEASE_SECONDS": 3,
    "DRAIN_SECONDS": 2,
    **json.loads(os.environ.get("FLEET_HOLDFAST", "{}")),
}
if BACKPLANE != "none":
    HOLDFAST |= {"REDIS": REDIS}
if BACKPLANE == "redis":
    HOLDFAST |= {"BACKPLANE": "redis"}
elif BACKPLANE.startswith("channels-"):
    layer = {
        "channels-core": "channels_redis.core.RedisChannelLayer",
        "channels-pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    }[BACKPLANE]
    CHANNEL_LAYERS = {"default": {"BACKEND": layer, "CONFIG": {"hosts": [REDIS]}}}
    HOLDFAST |= {"BACKPLANE": "channels"}
else:
    HOLDFAST |= {"BACKPLANE": "memory"}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"timed": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "timed"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"holdfast": {"level": "INFO"}},
}
