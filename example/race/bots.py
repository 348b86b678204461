"""The fleet of the race: three hundred boats, ten ticks a second each, while at least one reader watches."""

import asyncio
import math
import random
import time
from collections.abc import Iterator

from race.live import BoatMoved, Race

BOATS = 300
TICK_SECONDS = 0.1
LOOK_EVERY = 20
"""Ticks between two looks whether a reader still watches."""


async def run() -> None:
    race, positions = Race(), ticks()
    loop = asyncio.get_running_loop()
    while True:
        if not await race.amember_count():
            await asyncio.sleep(1)
            continue
        due = loop.time()
        for _ in range(LOOK_EVERY):
            await race.apublish(*next(positions))
            due += TICK_SECONDS
            await asyncio.sleep(max(0.0, due - loop.time()))


def ticks() -> Iterator[list[BoatMoved]]:
    """The speeds of all boats, tick by tick: each has a speed of its own, a swell, and gusts."""
    chance = random.Random(1)  # noqa: S311 -- weather, not a secret
    own = [chance.gauss(9, 1.6) for _ in range(BOATS)]
    gusts = [0.0] * BOATS
    tick = 0
    while True:
        tick += 1
        moved = []
        for boat in range(BOATS):
            gusts[boat] = gusts[boat] * 0.97 + chance.gauss(0, 0.12)
            swell = math.sin(tick / 37 + boat) + 0.6 * math.sin(tick / 11 + boat * boat)
            knots = round(max(0.0, own[boat] + swell + gusts[boat]), 2)
            moved.append(BoatMoved(boat=boat, tick=tick, knots=knots, at=time.time()))
        yield moved
