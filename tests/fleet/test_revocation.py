"""G4 on real servers: an eviction reaches the last of them at once through Redis, and without Redis by the comparison."""

from pathlib import Path

import pytest

from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

from .evictions import COMPARE_SECONDS, evictions

SLACK_SECONDS = 2.0
"""For a machine that does other things as well."""


@pytest.mark.timeout(180)
async def test_an_eviction_reaches_every_server_at_once_and_without_redis_within_the_comparison(
    postgres_server: PostgresServer, own_redis: RedisServer, tmp_path: Path
) -> None:
    postgres_server.create_database("fleet")
    try:
        async with evictions(postgres_server, own_redis, tmp_path, users=40) as fleet:
            took = sorted(await fleet.time_evictions(range(30)))
            assert took[len(took) // 2] < 0.25, f"with Redis: {took}"
            own_redis.kill()
            late = await fleet.time_evictions(range(30, 40))
            assert max(late) < COMPARE_SECONDS + SLACK_SECONDS, f"without Redis: {late}"
    finally:
        postgres_server.drop_database("fleet")
