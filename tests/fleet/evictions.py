"""How long it takes until an eviction has reached the last of several real servers.

A third process evicts, as a view or a task would; every user is connected to every server. What is measured is the time
from before ``evict()`` until the last client has been told, in seconds.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.services.postgres import PostgresServer
from tests.services.processes import find_program
from tests.services.redis import RedisServer

from .chaos.fleet import ROOT, Fleet, Services, Setup
from .visitor import joined

ROOM = "rooms/evictions"
COMPARE_SECONDS = 1.0
"""As in the project's settings."""


class Evictions:
    """Servers, users who are connected to all of them, and a process that evicts."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._bailiff: asyncio.subprocess.Process

    async def _order(self, *words: str) -> str:
        assert self._bailiff.stdin is not None
        assert self._bailiff.stdout is not None
        self._bailiff.stdin.write(f"{json.dumps(words)}\n".encode())
        await self._bailiff.stdin.drain()
        async with asyncio.timeout(30):
            answer = await self._bailiff.stdout.readline()
        return str(json.loads(answer))

    async def begin(self, users: int) -> None:
        self._bailiff = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.fleet.evictions"],
            cwd=ROOT,
            env=self.fleet.direct,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await self._order("prepare", str(users))
        for server in self.fleet.servers:
            server.start()
        for server in self.fleet.servers:
            await server.wait_until_ready()

    async def time_evictions(self, users: Sequence[int], pause: float = 0.01) -> list[float]:
        """Evict one after the other; for each how long it took until the last server had told its client."""
        took = []
        for user in users:
            async with contextlib.AsyncExitStack() as stack:
                sockets = [
                    (await stack.enter_async_context(joined(server.port, user, ROOM)))[0]
                    for server in self.fleet.servers
                ]
                began = time.monotonic()
                order = asyncio.create_task(self._order("evict", f"user-{user}"))
                ends = await asyncio.gather(*map(_until_left, sockets))
                await order
                took.append(max(ends) - began)
            await asyncio.sleep(pause)
        return took

    async def end(self) -> None:
        self._bailiff.kill()
        await self._bailiff.wait()


@contextlib.asynccontextmanager
async def evictions(
    postgres: PostgresServer, redis: RedisServer, directory: Path, *, users: int, servers: int = 2
) -> AsyncIterator[Evictions]:
    setup = Setup(servers=servers, writers=0, rooms=1)
    services = Services(postgres=postgres, redis=redis, nginx=find_program("nginx", package="nginx"))
    async with Fleet(setup, services, directory, seed=0).standing() as fleet:
        made = Evictions(fleet)
        await made.begin(users)
        try:
            yield made
        finally:
            await made.end()


async def _until_left(socket: ClientConnection) -> float:
    async with asyncio.timeout(30):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "left":
                assert message["payload"]["code"] == "evicted", message
                return time.monotonic()


# ── the process that evicts ──────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    import django

    django.setup()

    from django.contrib.auth.models import User
    from django.core.management import call_command

    from holdfast.hub import runtime
    from tests.fleet.project.live import Room

    room: Any = Room(room="evictions")
    for line in sys.stdin:
        what, *words = json.loads(line)
        if what == "prepare":
            call_command("migrate", run_syncdb=True, verbosity=0)
            for number in range(int(words[0])):
                User.objects.create(username=f"user-{number}", password="!")
            runtime.current().log.heads(["!control"])
        else:
            room.evict(User.objects.get(username=words[0]))
        print(json.dumps("done"), flush=True)


if __name__ == "__main__":
    main()
