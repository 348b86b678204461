"""Reads how long the logs are, once for all servers, while a member of staff watches."""

import asyncio

from holdfast.models import LogTopic

from bridge.live import Bridge, Heads

SECONDS = 2.0
MOST = 8


async def run() -> None:
    while True:
        await asyncio.sleep(SECONDS)
        if await Bridge().amember_count():
            await Bridge().apublish(await heads())


async def heads() -> Heads:
    longest = LogTopic.objects.of_project().order_by("-head").values_list("name", "head")[:MOST]
    return Heads(heads={name: head async for name, head in longest})
