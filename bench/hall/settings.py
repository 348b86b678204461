"""Settings as a project would have them, but without limits on one connection's messages: one connection publishes everything.

BENCH_DATABASE: the SQLite file. BENCH_LOG: where durable topics are kept, ``memory`` or ``database``. BENCH_REDIS: the URL
of the Redis for sessions, with BENCH_FLEET also of the backplane between several servers. BENCH_LAYER: the class of the
channel layer there; without it there is none.
"""

import os

from bench.project import *  # noqa: F403 - settings, as Django has them
from bench.project import apps, sqlite

# The log is in memory on purpose, and there is one process.
SILENCED_SYSTEM_CHECKS = [
    "holdfast.W005",
    "holdfast.W009",
]
ASGI_APPLICATION = "bench.hall.asgi.application"
ROOT_URLCONF = "bench.hall.urls"
INSTALLED_APPS = apps("bench.hall")
DATABASES = {"default": sqlite()}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # no user signs in
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0"),
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
HOLDFAST = {
    "LOG": os.environ.get("BENCH_LOG", "memory"),
    "MESSAGE_RATE": "1000000/s",
    "MESSAGE_BURST": 1000000,
    "BYTE_RATE": "999999999/s",
    "BYTE_BURST": 1000000000,
    "JOIN_RATE": "1000000/s",
    "HANDSHAKE_RATE": None,
    "CONNECTIONS_PER_USER": None,
    # All callers come from one address. Beyond the default of 100 calls they would wait for nothing but a refusal.
    "CALLS_PER_USER": 2_000,
    "CALLS_AT_ONCE": 10_000,
    "STALL_SECONDS": 600,  # stalled clients must stay connected while they are measured
}
if layer := os.environ.get("BENCH_LAYER"):
    # redis-py's pool has 100 connections at most, which Channels' core layer exceeds as soon as 100 clients come at once.
    host = {"address": os.environ["BENCH_REDIS"], "max_connections": 5000}
    CHANNEL_LAYERS = {"default": {"BACKEND": layer, "CONFIG": {"hosts": [host]}}}
if os.environ.get("BENCH_FLEET"):
    HOLDFAST |= {"REDIS": os.environ["BENCH_REDIS"]}
