"""Reports of each server, for the numbers beside the chart."""

import asyncio
import os

from holdfast import metrics

from race.live import Race, Served


async def run() -> None:
    while True:
        await asyncio.sleep(1)
        if metrics.snapshot().get("connections"):
            await Race().apublish(served())


def served() -> Served:
    counted = metrics.snapshot()
    return Served(
        server=f"{os.uname().nodename}-{os.getpid()}",
        delivered=counted["events_delivered"],
        superseded=counted["events_superseded"],
        conflated=counted["events_conflated"],
    )
