"""Injector of faults: carries a schedule out against a fleet, and records each fault with its time."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from tests.services.processes import ServerFailed

from .fleet import Fleet, Node
from .orders import Orders
from .records import Injected, Journal
from .schedule import Fault, Schedule, Step

DRAIN_SECONDS = 20.0
"""How long a server may take to end after SIGTERM before it is killed, which is written down."""

TRIES = 4
"""How often PostgreSQL or Redis is started after a crash, a second apart: what the dead have left may be in the way."""


class Injector:
    """``users`` are the ids of the users that a schedule numbers."""

    def __init__(self, fleet: Fleet, bailiff: Orders, users: list[str], journal: Journal) -> None:
        self._fleet = fleet
        self._bailiff = bailiff
        self._users = users
        self._journal = journal
        # A recovery may take longer than the schedule has set aside for it: the next fault there waits.
        self._redis, self._postgres = asyncio.Lock(), asyncio.Lock()
        self._nodes: dict[str, Node] = {
            node.name: node for node in (*fleet.servers, *fleet.writers, fleet.nginx)
        }

    async def carry_out(self, schedule: Schedule) -> None:
        """Return when the last fault is over. All processes run then, and no link is disturbed."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as steps:
            for step in schedule.steps:
                steps.create_task(self._at(began + step.at, step))
            steps.create_task(asyncio.sleep(schedule.seconds))
        for proxy in self._fleet.proxies.values():
            proxy.calm()

    async def _at(self, when: float, step: Step) -> None:
        await asyncio.sleep(when - time.monotonic())
        began = time.monotonic()
        note = await self._step(step)
        self._journal.note(
            Injected(
                at=time.monotonic(), began=began, kind=step.fault.value, target=step.target, note=note or ""
            )
        )

    def _step(self, step: Step) -> Awaitable[str | None]:
        if step.target in ("redis", "postgres"):
            return self._one_at_a_time(self._redis if step.target == "redis" else self._postgres, step)
        if step.fault in _ON_NODES:
            return _ON_NODES[step.fault](self, self._nodes[step.target], step)
        return _ELSEWHERE[step.fault](self, step)

    async def _one_at_a_time(self, lock: asyncio.Lock, step: Step) -> str | None:
        async with lock:
            return await _ELSEWHERE[step.fault](self, step)

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _kill(self, node: Node, step: Step) -> None:
        async with node.lock:
            node.kill()
            await asyncio.sleep(step.seconds)
            node.start()

    async def _pause(self, node: Node, step: Step) -> None:
        async with node.lock:
            node.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(step.seconds)
            finally:
                node.signal(signal.SIGCONT)

    async def _nginx(self, step: Step) -> None:
        await self._kill(self._fleet.nginx, step)

    async def _deploy(self, step: Step) -> str:
        """Ask one server after the other to end, and start each again."""
        killed = []
        for node in self._fleet.servers:
            async with node.lock:
                if not await node.terminate(DRAIN_SECONDS):
                    killed.append(node.name)
                node.start()
                await node.wait_until_ready()
        return f"killed after {DRAIN_SECONDS:g} s: {', '.join(killed)}" if killed else ""

    # ── Redis and PostgreSQL ─────────────────────────────────────────────────────────────────────────────────────────

    async def _kill_redis(self, step: Step) -> None:
        redis = self._fleet.services.redis
        redis.kill()
        await asyncio.sleep(step.seconds)
        await self._up_again(redis.start_again, redis.kill)

    async def _pause_redis(self, step: Step) -> None:
        redis = self._fleet.services.redis
        redis.freeze()
        try:
            await asyncio.sleep(step.seconds)
        finally:
            redis.thaw()

    async def _empty_redis(self, step: Step) -> None:
        await asyncio.to_thread(self._fleet.services.redis.flush)

    async def _disconnect_redis(self, step: Step) -> None:
        await asyncio.to_thread(self._fleet.services.redis.disconnect_everyone)

    async def _restart_postgres(self, step: Step) -> None:
        postgres = self._fleet.services.postgres
        await asyncio.to_thread(postgres.crash)
        await asyncio.sleep(step.seconds)
        await self._up_again(postgres.start_again, postgres.crash, postgres.wait)

    async def _up_again(
        self, start: Callable[[], None], end: Callable[[], None], wait: Callable[[], None] = lambda: None
    ) -> None:
        """Start a killed process again. Not in a thread: the kernel would end it with the thread (``processes.start``)."""
        for left in reversed(range(TRIES)):
            try:
                start()
                await asyncio.to_thread(wait)
                return
            except ServerFailed:
                if not left:
                    raise
                await asyncio.to_thread(end)
                await asyncio.sleep(1)

    async def _disconnect_postgres(self, step: Step) -> None:
        postgres = self._fleet.services.postgres
        await asyncio.to_thread(postgres.wait)
        await asyncio.to_thread(postgres.disconnect_everyone)

    # ── the network ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _drop(self, step: Step) -> str:
        return f"{self._fleet.proxies[step.target].drop(step.amount)} connections"

    async def _halve(self, step: Step) -> None:
        proxy = self._fleet.proxies[step.target]
        proxy.cut_streams(step.amount)
        await asyncio.sleep(step.seconds)
        proxy.calm()

    async def _delay(self, step: Step) -> None:
        proxy = self._fleet.proxies[step.target]
        proxy.delay = step.amount
        await asyncio.sleep(step.seconds)
        proxy.calm()

    async def _black_hole(self, step: Step) -> None:
        proxy = self._fleet.proxies[step.target]
        proxy.hold()
        await asyncio.sleep(step.seconds)
        proxy.calm()

    async def _refuse(self, step: Step) -> None:
        proxy = self._fleet.proxies[step.target]
        proxy.refusing = True
        proxy.drop()
        await asyncio.sleep(step.seconds)
        proxy.calm()

    # ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _evict(self, step: Step) -> None:
        name, topic = step.target.split()
        user = self._user(name)
        await self._bailiff.ask("evict", user, topic)
        await asyncio.sleep(step.seconds)
        await self._bailiff.ask("readmit", user, topic)

    async def _log_out(self, step: Step) -> None:
        await self._bailiff.ask("log_out", self._user(step.target))

    async def _disconnect(self, step: Step) -> None:
        await self._bailiff.ask("disconnect", self._user(step.target))

    def _user(self, name: str) -> str:
        return self._users[int(name.removeprefix("user-"))]


_ON_NODES: dict[Fault, Callable[[Injector, Node, Step], Awaitable[None]]] = {
    Fault.KILL_SERVER: Injector._kill,
    Fault.PAUSE_SERVER: Injector._pause,
    Fault.KILL_WRITER: Injector._kill,
    Fault.PAUSE_WRITER: Injector._pause,
}
_ELSEWHERE: dict[Fault, Callable[[Injector, Step], Awaitable[str | None]]] = {
    Fault.DEPLOY: Injector._deploy,
    Fault.KILL_NGINX: Injector._nginx,
    Fault.KILL_REDIS: Injector._kill_redis,
    Fault.PAUSE_REDIS: Injector._pause_redis,
    Fault.EMPTY_REDIS: Injector._empty_redis,
    Fault.DISCONNECT_REDIS: Injector._disconnect_redis,
    Fault.RESTART_POSTGRES: Injector._restart_postgres,
    Fault.DISCONNECT_POSTGRES: Injector._disconnect_postgres,
    Fault.DROP: Injector._drop,
    Fault.HALVE: Injector._halve,
    Fault.DELAY: Injector._delay,
    Fault.BLACK_HOLE: Injector._black_hole,
    Fault.REFUSE: Injector._refuse,
    Fault.EVICT: Injector._evict,
    Fault.LOGOUT: Injector._log_out,
    Fault.DISCONNECT: Injector._disconnect,
}
