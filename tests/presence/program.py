"""A server without a socket: `python -m tests.presence.program URL LEASE MEMBER…`.

Its hub uses Redis in all its parts. It prints the members, one JSON list per line, whenever a client gets a message. A line
on its standard input ends all subscriptions and stops it properly.
"""

import asyncio
import json
import sys

import django
from django.conf import settings

settings.configure(HOLDFAST={"LOG": "memory"}, INSTALLED_APPS=[])
django.setup()

from holdfast.backplane.redis import RedisBackplane  # noqa: E402
from holdfast.hub.hub import Hub, Timing  # noqa: E402
from holdfast.log.memory import MemoryLog  # noqa: E402
from holdfast.presence.redis import RedisPresence  # noqa: E402
from holdfast.redis.client import RedisStore  # noqa: E402
from holdfast.streams.prepared import Burst  # noqa: E402
from holdfast.threads.threads import Inline  # noqa: E402
from tests.support.hubs import TOPIC, join  # noqa: E402
from tests.support.presence import Watcher, attending  # noqa: E402


class Printer(Watcher):
    def write(self, burst: Burst) -> None:
        super().write(burst)
        print(json.dumps(sorted(self.view or ())), flush=True)


async def main(url: str, lease: str, *members: str) -> None:
    hub = Hub(
        MemoryLog(),
        RedisBackplane(RedisStore(url)),
        Inline(),
        timing=Timing(compare=1.0, lease=float(lease)),
        presence=RedisPresence(RedisStore(url)),
    )
    await hub.start()
    for place, member in enumerate(members):
        watcher = Watcher(member) if place else Printer(member)
        await join(hub, watcher, TOPIC, durable=False, attending=attending(member))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await hub.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
