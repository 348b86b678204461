"""The contract of every limiter. The test's ``limiter`` is the one to test, with no key used yet."""

import asyncio
from collections.abc import Hashable

from holdfast.limits.base import Limiter, Rate

FIVE = Rate.parse("5/s")


async def take(limiter: Limiter, key: Hashable, rate: Rate = FIVE, now: float = 0.0) -> float:
    """Count one use, of a limiter that answers at once or of one that must be awaited."""
    taken = limiter.take(key, rate, now)
    return taken if isinstance(taken, float | int) else await taken


class LimiterContract:
    async def test_a_use_within_the_rate_waits_for_nothing_and_one_beyond_it_learns_how_long(
        self, limiter: Limiter
    ) -> None:
        waits = [await take(limiter, "ada") for _ in range(6)]

        assert waits[:5] == [0] * 5
        assert 0 < waits[5] <= 0.2

    async def test_each_key_has_the_rate_for_itself(self, limiter: Limiter) -> None:
        for _ in range(5):
            await take(limiter, "ada")

        assert await take(limiter, "grace") == 0
        assert await take(limiter, "ada") > 0

    async def test_each_rate_of_a_key_counts_for_itself(self, limiter: Limiter) -> None:
        for _ in range(6):
            await take(limiter, "ada")

        assert await take(limiter, "ada", Rate.parse("1/m")) == 0

    async def test_keys_are_equal_only_if_their_parts_are(self, limiter: Limiter) -> None:
        once = Rate.parse("1/h")

        assert await take(limiter, ("user:7", LimiterContract, "post"), once) == 0
        assert await take(limiter, ("user:7", LimiterContract, "post"), once) > 0
        assert await take(limiter, ("user:7", LimiterContract, "typing"), once) == 0
        assert await take(limiter, ("user:77", LimiterContract, "post"), once) == 0

    async def test_of_many_uses_at_once_the_rate_is_let_through(self, limiter: Limiter) -> None:
        waits = await asyncio.gather(*[take(limiter, "ada") for _ in range(20)])

        assert waits.count(0) == 5
