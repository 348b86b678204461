"""Benchmark of joins, each of its own topic, beside each kind of CHANNEL_LAYERS: python -m bench.joins

Connections without sockets say hello and join, in a fresh process for each way. Joins become quadratic where a join costs
more the more topics there are, so the last thousand are timed as well. `--ways auto-beside-in-memory-layer` runs one only.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from typing import Any

from bench.collector import Nowhere

CLIENTS = 5_000
IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "auto": ("auto", {}),
    "auto-beside-in-memory-layer": ("auto", IN_MEMORY),
    "through-in-memory-layer": ("channels", IN_MEMORY),
}


async def join(way: str, clients: int) -> str:
    from django.contrib.auth.models import AnonymousUser

    from holdfast import wiring
    from holdfast.auth.base import Identity
    from holdfast.connections.connection import Connection
    from holdfast.protocol import codec

    service = wiring.service()
    hub = await service.runtime.hub()
    chosen = codec.choose(["holdfast.v1.json"])
    assert chosen is not None
    connections, turns = [], []
    began = time.perf_counter()
    for start in range(0, clients, 50):
        before = time.perf_counter()
        some = [
            Connection(service, hub, Nowhere(), chosen, Identity(user=AnonymousUser()))
            for _ in range(min(50, clients - start))
        ]
        for number, connection in enumerate(some, start):
            connection.receive('{"type":"hello","payload":{}}')
            connection.receive(f'{{"type":"join","ref":1,"topic":"seats/{number}"}}')
        await asyncio.gather(*(task for connection in some for task in connection._tasks or ()))
        connections += some
        turns.append(time.perf_counter() - before)
    took = time.perf_counter() - began
    assert sum(name.startswith("seats/") for name in hub._streams) == clients
    last = turns[-20:]
    return f"{way:30}  {clients / took:8,.0f} joins/s   {50 * len(last) / sum(last):8,.0f} of the last {50 * len(last):,}"


def one(way: str, clients: int) -> None:
    import django
    from django.conf import settings

    backplane, layers = WAYS[way]
    settings.configure(
        CHANNEL_LAYERS=layers,
        HOLDFAST={"LOG": "memory", "BACKPLANE": backplane},
        DATABASES={},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "holdfast"],
        SECRET_KEY="nothing is signed here",
        USE_TZ=True,
    )
    django.setup()
    from holdfast import Topic
    from holdfast.topics.registry import registry

    class Seat(Topic):
        route = "seats/<int:seat>"

        def may_join(self, user: Any) -> bool:
            return True

    registry.register(Seat)
    print(asyncio.run(join(way, clients)), flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one, given.clients)
    for way in given.ways:
        command = [sys.executable, "-m", "bench.joins", "--one", way, "--clients", str(given.clients)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
