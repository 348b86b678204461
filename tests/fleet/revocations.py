"""Real servers, users who are connected to all of them, and a third process that takes rights away (``revoker.py``).

The measured time is from before a right is taken until the last of the user's clients has its answer, in seconds.
"""

import asyncio
import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.services.postgres import PostgresServer
from tests.services.processes import find_program
from tests.services.redis import RedisServer

from .chaos.fleet import ROOT, Fleet, Services, Setup
from .chaos.proxy import Proxy
from .visitor import joined_by, sign_in

VAULT = "vaults/one"
PATIENCE_SECONDS = 30.0


class Client:
    """One connection, which has joined the vault."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def ends(self) -> tuple[str, float]:
        """Return how it ended, ``"left evicted"`` or ``"closed 4401"``, and when. Fails if any other message comes first."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                message = json.loads(await self._socket.recv())
                if message["type"] == "goodbye":
                    await self._socket.recv()
            except ConnectionClosed as closed:
                return f"closed {closed.rcvd.code if closed.rcvd else None}", time.monotonic()
            assert message["type"] == "left", message
            return f"left {message['payload']['code']}", time.monotonic()

    async def hears(self) -> str:
        """Return the value of the next event. Fails if the next message is no event."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = json.loads(await self._socket.recv())
            assert message["type"] == "event", message
            return str(message["payload"]["value"])


class Revocations:
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.ways: list[Proxy] = []
        """Between the revoker and its PostgreSQL and Redis."""
        self._revoker: asyncio.subprocess.Process
        self._turn = asyncio.Lock()

    async def order(self, *words: Any) -> Any:
        """Let the revoker call one of its functions; return its result."""
        async with self._turn:
            assert self._revoker.stdin is not None
            assert self._revoker.stdout is not None
            self._revoker.stdin.write(f"{json.dumps(words)}\n".encode())
            await self._revoker.stdin.drain()
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await self._revoker.stdout.readline()
            return json.loads(answer)

    async def begin(self, users: int, environment: dict[str, str]) -> None:
        self._revoker = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.fleet.revoker"],
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await self.order("prepare", users)
        for server in self.fleet.servers:
            server.start()
        for server in self.fleet.servers:
            await server.wait_until_ready()

    async def end(self) -> None:
        self._revoker.kill()
        await self._revoker.wait()

    # ── evictions ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def time_evictions(self, users: Sequence[int], *, at_once: int = 20) -> list[float]:
        """Return for each eviction the time until the last server had told its client. ``at_once`` users are connected at the
        same time; they are evicted one after the other, each when the clients of the one before have been told."""
        took = []
        for start in range(0, len(users), at_once):
            async with contextlib.AsyncExitStack() as stack:
                for name, clients in await self._all_joined(stack, users[start : start + at_once]):
                    took.append(await self.until_out(clients, "left evicted", "evict", name))
        return took

    async def time_evictions_together(self, users: Sequence[int]) -> list[float]:
        """Measure the same, but evict all users at once."""
        async with contextlib.AsyncExitStack() as stack:
            here = await self._all_joined(stack, users)
            outs = [self.until_out(clients, "left evicted", "evict", name) for name, clients in here]
            return await asyncio.gather(*outs)

    async def _all_joined(
        self, stack: contextlib.AsyncExitStack, users: Sequence[int]
    ) -> list[tuple[str, list[Client]]]:
        names = [f"user-{user}" for user in users]
        await self.order("entitle_all", names)
        return list(
            zip(names, await asyncio.gather(*(self.joined(stack, name) for name in names)), strict=True)
        )

    async def until_out(self, clients: Sequence[Client], how: str, *words: Any) -> float:
        """Return the time from the revoker's ``words`` until every client has ended. Fails if one ended otherwise than expected."""
        began = time.monotonic()
        order = asyncio.create_task(self.order(*words))
        ends = await asyncio.gather(*(client.ends() for client in clients))
        await order
        assert {end for end, _ in ends} == {how}, f"{words}: {ends}"
        return max(at for _, at in ends) - began

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def sign_in(self, name: str) -> str:
        """The cookie of a new session."""
        return await asyncio.to_thread(sign_in, self.fleet.servers[0].port, name)

    async def sign_out(self, cookie: str) -> None:
        """At the first server."""
        await asyncio.to_thread(_get, self.fleet.servers[0].port, "/logout/", cookie)

    async def joined(
        self, stack: contextlib.AsyncExitStack, name: str, cookie: str | None = None
    ) -> list[Client]:
        """A client at each server, all with one session."""
        cookie = cookie or await self.sign_in(name)
        return [
            Client((await stack.enter_async_context(joined_by(server.port, cookie, VAULT)))[0])
            for server in self.fleet.servers
        ]


@contextlib.asynccontextmanager
async def revocations(
    postgres: PostgresServer,
    redis: RedisServer,
    directory: Path,
    *,
    users: int = 0,
    servers: int = 2,
    far: bool = False,
    **settings: Any,
) -> AsyncIterator[Revocations]:
    """With ``far`` the revoker reaches PostgreSQL and Redis by :attr:`Revocations.ways`. ``settings`` are Holdfast's."""
    settings.setdefault("HEARTBEAT_SECONDS", 600)  # the clients here are silent
    setup = Setup(servers=servers, writers=0, rooms=1, holdfast=settings)
    services = Services(postgres=postgres, redis=redis, nginx=find_program("nginx", package="nginx"))
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(Fleet(setup, services, directory, seed=0).standing())
        made, environment = Revocations(fleet), fleet.direct
        if far:
            for name, port in (("postgres", postgres.port), ("redis", redis.port)):
                way = Proxy(f"{name}-revoker", ("127.0.0.1", port))
                made.ways.append(await stack.enter_async_context(way))
            environment = fleet.environment(postgres=made.ways[0].port, redis=made.ways[1].port)
        await made.begin(users, environment)
        try:
            yield made
        finally:
            await made.end()


def _get(port: int, path: str, cookie: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=10):
        pass
