"""Benchmark of Python's garbage collector while very many clients connect: python -m bench.collector

Connections without sockets say hello and join a topic, in a fresh process for each way of setting the collector up.
CPU is the process's own; the collector's times are on the wall clock.
"""

import asyncio
import gc
import os
import subprocess
import sys
import time
from typing import Any

CONNECTIONS = 10_000
RUNS = 3
WAYS = ("defaults", "frozen", "frozen, and thresholds raised")


class Nowhere:
    """A sink for what connections write."""

    __slots__ = ()

    name = "nowhere"
    duplex = True
    bytes_sent = None

    def send(self, data: str | bytes) -> None: ...

    def send_events(self, burst: Any) -> None: ...

    def probe(self) -> bool:
        return False

    def note_join(self, asked: str, topic: str, position: object) -> None: ...
    def note_reset(self, topic: str, position: object) -> None: ...
    def report_blocking(self) -> None: ...

    def slow_down(self, seconds: float) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class Watch:
    """Notes every walk of the collector."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.full = 0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, details: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.seconds.append(time.perf_counter() - self._began)
            self.full += details["generation"] == 2


async def connect(way: str) -> str:
    from django.contrib.auth.models import AnonymousUser

    from holdfast import wiring
    from holdfast.auth.base import Identity
    from holdfast.connections.connection import Connection
    from holdfast.protocol import codec
    from holdfast.server.serving.config import GC_THRESHOLDS

    service = wiring.service()
    hub = await service.runtime.hub()
    chosen = codec.choose(["holdfast.v1.json"])
    assert chosen is not None
    if way != WAYS[0]:
        gc.collect()
        gc.freeze()
    if way == WAYS[2]:
        gc.set_threshold(*GC_THRESHOLDS)

    watch, before = Watch(), time.process_time()
    connections = []
    for number in range(CONNECTIONS):
        connection = Connection(service, hub, Nowhere(), chosen, Identity(user=AnonymousUser()))
        connection.receive('{"type":"hello","payload":{}}')
        connection.receive('{"type":"join","ref":1,"topic":"passing/all"}')
        connections.append(connection)
        if number % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*(task for connection in connections for task in connection._tasks or ()))
    assert len(hub._streams["passing/all"].subscriptions) == CONNECTIONS
    used = time.process_time() - before
    walks = f"{sum(watch.seconds):.3f} s ({len(watch.seconds)} walks, {watch.full} full)"
    return f"{way:30}  {used:.2f} s  {walks:32}  {max(watch.seconds) * 1000:.1f} ms"


def one(way: str) -> None:
    import django
    from django.conf import settings

    settings.HOLDFAST["LOG"] = "memory"
    django.setup()
    from holdfast.application import load

    load()
    print(asyncio.run(connect(way)), flush=True)
    os._exit(0)


def main() -> None:
    if len(sys.argv) > 1:
        one(sys.argv[1])
    print(f"{CONNECTIONS} connections: CPU, of that the collector, its longest walk")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "bench.chat.settings",
        "BENCH_DATABASE": ":memory:",
    }
    for _ in range(RUNS):
        for way in WAYS:
            subprocess.run([sys.executable, "-m", "bench.collector", way], env=environment, check=True)


if __name__ == "__main__":
    main()
