"""BENCH_POSTGRES: JSON, what Django needs to connect. BENCH_REDIS: a URL. BENCH_DRAIN: seconds."""

import json
import os

from bench.project import *  # noqa: F403 - settings, as Django has them
from bench.project import apps

ROOT_URLCONF = "bench.chat.urls"
INSTALLED_APPS = apps("bench.chat")
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": None,
        **json.loads(os.environ["BENCH_POSTGRES"]),
    }
}
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
