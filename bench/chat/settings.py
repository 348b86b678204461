"""BENCH_DATABASE: the SQLite file. BENCH_REDIS: the URL of the channel layer's Redis; without it there is no layer."""

import os

from bench.project import *  # noqa: F403 - settings, as Django has them
from bench.project import apps, sqlite

ROOT_URLCONF = "bench.chat.urls"
INSTALLED_APPS = apps("bench.chat")
DATABASES = {"default": sqlite()}
HOLDFAST = {
    "MESSAGE_RATE": "1000000/s",
    "MESSAGE_BURST": 1000000,
    "BYTE_RATE": "999999999/s",
    "BYTE_BURST": 1000000000,
    "JOIN_RATE": "1000000/s",
    "HANDSHAKE_RATE": None,
    "CONNECTIONS_PER_USER": None,
    "RATES_PER_USER": None,
}
if redis := os.environ.get("BENCH_REDIS"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis]},
        }
    }
