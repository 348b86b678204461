"""BENCH_POSTGRES: JSON, what Django needs to connect. BENCH_REDIS: a URL. BENCH_DRAIN: seconds."""

import json
import os

DEBUG = False
SECRET_KEY = "nothing is signed here"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "bench.chat.urls"
INSTALLED_APPS = [
    "holdfast",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "bench.chat",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": None,
        **json.loads(os.environ["BENCH_POSTGRES"]),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
HOLDFAST = {
    "REDIS": os.environ["BENCH_REDIS"],
    "DRAIN_SECONDS": float(os.environ["BENCH_DRAIN"]),
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["BENCH_REDIS"]]},
    }
}
