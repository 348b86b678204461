"""Benchmark of the time until an eviction has reached the last server.

    python -m bench.revocation                     200 evictions, 2 servers
    python -m bench.revocation --count 50 --servers 3

PostgreSQL and Redis are started for this, and servers as ``manage.py holdfast serve``. Each user is connected to each
server; another process evicts them, one after the other. The time is from before ``evict()`` until the last of the
user's clients has received its ``left``. Then Redis is killed, and a tenth as many are evicted without it.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fleet.revocations import revocations
from tests.services.postgres import running_postgres
from tests.services.redis import running_redis

RECONCILE_SECONDS = 1.0


async def measure(count: int, servers: int) -> None:
    without = max(count // 10, 5)
    with (
        running_postgres() as postgres,
        running_redis() as redis,
        tempfile.TemporaryDirectory() as directory,
    ):
        postgres.create_database("fleet")
        async with revocations(
            postgres,
            redis,
            Path(directory),
            users=count + without + 5,
            servers=servers,
            RECONCILE_SECONDS=RECONCILE_SECONDS,
        ) as fleet:
            await fleet.time_evictions(range(count + without, count + without + 5))  # to warm up
            say(f"{servers} servers, Redis up", await fleet.time_evictions(range(count)))
            redis.kill()
            took = await fleet.time_evictions(range(count, count + without))
            say(f"{servers} servers, Redis dead, compared every {RECONCILE_SECONDS:g} s", took)


def say(what: str, took: list[float]) -> None:
    ranked = sorted(took)

    def at(share: float) -> float:
        return 1000 * ranked[min(int(share * len(ranked)), len(ranked) - 1)]

    print(
        f"{what}: {len(took)} evictions, until the last client was told: median {at(0.5):.1f} ms, "
        f"p99 {at(0.99):.1f} ms, longest {at(1):.1f} ms",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--servers", type=int, default=2)
    options = parser.parse_args()
    asyncio.run(measure(options.count, options.servers))


if __name__ == "__main__":
    main()
