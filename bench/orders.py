"""Benchmark of eviction and disconnection commands in a process with many connections.

    python -m bench.orders                  10,000 connections, each in one topic
    python -m bench.orders --connections 1000

The process carries out commands in one walk over its connections, however many commands arrive together. The time is that
of the event loop, which does nothing else during the walk; the smallest of ten runs.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from holdfast import Topic  # noqa: E402 - Django forbids it any earlier
from holdfast.auth.base import Identity  # noqa: E402
from holdfast.connections.connection import Connection  # noqa: E402
from holdfast.connections.transport import ClosedTransport  # noqa: E402
from holdfast.control.commands import ControlCommand, Disconnect, Evict, Recheck  # noqa: E402
from holdfast.protocol.codec import JSON  # noqa: E402
from tests.support.connected import Process, User, fleet  # noqa: E402

RUNS = 10


class Room(Topic):
    route = "rooms/<int:room>"

    async def may_join(self, user: Any) -> bool:
        return True


class Nowhere(ClosedTransport):
    """A transport that throws away what it is given."""


async def measure(count: int) -> None:
    async with fleet(Room, reauthorize_seconds=0.0) as here:
        process = here.processes[0]
        await fill(process, count)
        elsewhere = [Disconnect(owner=f"user:{count + number}") for number in range(1000)]
        topic = "rooms/1"
        report("one, which matches no connection here", process, lambda run: elsewhere[run : run + 1])
        report(
            "a hundred together, which match no connection here",
            process,
            lambda run: elsewhere[run * 100 :][:100],
        )
        report("one eviction of one user", process, lambda run: [Evict(topic=topic, owners=(f"user:{run}",))])
        report("one disconnection of one user", process, lambda run: [Disconnect(owner=f"user:{run}")])
        report("a recheck of a topic without members", process, lambda run: [Recheck(topic="rooms/0")])
        report("the eviction of all users", process, lambda run: [Evict(topic=topic)], runs=1)


async def fill(process: Process, count: int) -> None:
    hub = await process.runtime.hub()
    for number in range(count):
        sink: Any = Nowhere()
        connection = Connection(
            process.service, hub, sink, JSON, Identity(user=User(number), session_key="k" * 32)
        )
        connection.receive('{"type":"join","ref":1,"topic":"rooms/1"}')
        if number % 100 == 0:
            await asyncio.sleep(0)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert all(connection.joined_topics() for connection in process.service.connections)


def report(what: str, process: Process, orders: Any, runs: int = RUNS) -> None:
    best = min(once(process, orders(run)) for run in range(runs))
    print(f"{what}: {1000 * best:.2f} ms for {len(process.service.connections)} connections", flush=True)


def once(process: Process, orders: Sequence[ControlCommand]) -> float:
    began = time.perf_counter()
    process.service.revocation.carry_out(orders)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=10_000)
    asyncio.run(measure(parser.parse_args().connections))


if __name__ == "__main__":
    main()
