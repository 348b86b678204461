"""Benchmark of presence in Redis: python -m bench.presence

Connections without sockets join 100 topics with presence, each as a user of its own, in a fresh process. Counted are the
commands that Redis was sent, and the processor time of the process and of Redis: while they come, then in ten refresh
intervals of silence (the lease is shortened to 3 seconds, so that these are ten seconds), and when they go together.
"""

import asyncio
import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

from bench.collector import Nowhere

SIZES = (100, 10_000)
TOPICS = 100
LEASE_SECONDS = 3.0
INTERVALS = 10


class Meter:
    """Commands and processor time since the last look."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.look()

    def look(self) -> str:
        client = self._client
        stats = {name: int(found["calls"]) for name, found in client.info("commandstats").items()}
        used = client.info("cpu")
        redis = used["used_cpu_user"] + used["used_cpu_sys"]
        now = (stats, time.process_time(), redis)
        if not hasattr(self, "_before"):
            self._before = now
            return ""
        before, own, its = self._before
        # Commands inside of scripts are counted by Redis too; what was sent are these.
        sent = ("evalsha", "eval", "mget", "smembers")
        counts = {name: stats.get(f"cmdstat_{name}", 0) - before.get(f"cmdstat_{name}", 0) for name in sent}
        calls = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
        self._before = now
        return f"{calls:38}  {(now[1] - own) * 1000:8.1f} ms  {(redis - its) * 1000:8.1f} ms"


async def written(presence: Any) -> None:
    """Return when the store knows all."""
    await asyncio.sleep(0.2)
    for _ in range(1000):
        if not presence._writes._running and not len(presence._writes):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("presence is still being written")


async def measure(size: int, client: Any) -> None:
    from holdfast import Presence, Topic, wiring
    from holdfast.auth.base import Identity
    from holdfast.connections.connection import Connection
    from holdfast.protocol import codec
    from holdfast.topics.registry import registry

    class Room(Topic):
        route = "rooms/<int:room>"
        presence = Presence()

        async def may_join(self, user: Any) -> bool:
            return True

    with registry.override([Room]):
        service = wiring.service()
        hub = await service.runtime.hub()
        chosen = codec.choose(["holdfast.v1.json"])
        assert chosen is not None
        meter = Meter(client)
        connections = []
        for number in range(size):
            user = SimpleNamespace(pk=number, is_authenticated=True)
            connection = Connection(service, hub, Nowhere(), chosen, Identity(user=user))
            connection.receive('{"type":"hello","payload":{}}')
            connection.receive(f'{{"type":"join","ref":1,"topic":"rooms/{number % TOPICS}"}}')
            connections.append(connection)
            if number % 50 == 0:
                await asyncio.sleep(0)
        await written(hub.presence)
        joined = sum(len(connection.joined_topics()) for connection in connections)
        assert joined == size, f"{joined} of {size} joined"
        await asyncio.sleep(1)
        print(f"{size:6}  coming           {meter.look()}")
        await asyncio.sleep(INTERVALS * LEASE_SECONDS / 3)
        print(f"{size:6}  ten intervals    {meter.look()}")
        for connection in connections:
            connection.closed()
        await written(hub.presence)
        print(f"{size:6}  going            {meter.look()}", flush=True)


def one(size: int, url: str) -> None:
    import django
    from django.conf import settings

    settings.HOLDFAST |= {
        "LOG": "memory",
        "BACKPLANE": "memory",
        "REDIS": url,
        "PRESENCE_LEASE_SECONDS": LEASE_SECONDS,
    }
    django.setup()
    from redis import Redis

    asyncio.run(measure(size, Redis.from_url(url)))
    os._exit(0)


def main() -> None:
    if len(sys.argv) > 1:
        one(int(sys.argv[1]), sys.argv[2])
    from tests.services.redis import running_redis

    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "bench.chat.settings",
        "BENCH_DATABASE": ":memory:",
    }
    print(
        f"users in {TOPICS} topics          {'commands':38}  {'CPU here':>11}  {'CPU of Redis':>11}",
        flush=True,
    )
    for size in SIZES:
        with running_redis() as server:
            command = [sys.executable, "-m", "bench.presence", str(size), server.url]
            subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
