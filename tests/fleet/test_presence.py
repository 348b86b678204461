"""G7 on real servers: three of them, nginx aside, with Redis; one is killed, or stands still for longer than its lease."""

import asyncio
import contextlib
import signal
import time

import pytest

from .chaos.fleet import Fleet
from .conftest import Standing
from .visitor import Visitor

ROOM = "rooms/r0"
LEASE_SECONDS = 6
HEALING_SECONDS = 15.0
"""For what has no bound of its own, on a machine that does other things as well."""


class House:
    """The users and their servers: one user on each server, and one who is on the first two."""

    def __init__(self, fleet: Fleet, ids: list[str], stack: contextlib.AsyncExitStack) -> None:
        self._fleet = fleet
        self._stack = stack
        self.ids = ids

    async def enter(self, user: int, server: int) -> Visitor:
        port = self._fleet.servers[server].port
        return await self._stack.enter_async_context(Visitor.at(port, user, ROOM))

    def named(self, *users: int) -> set[str]:
        return {self.ids[user] for user in users}


async def all_see(visitors: list[Visitor], members: set[str], *, seconds: float = HEALING_SECONDS) -> None:
    await asyncio.gather(*[visitor.wait_for(members, seconds=seconds) for visitor in visitors])


FIRST, SECOND, THIRD, EVERYWHERE, LEAVING, GOING, COMING = range(7)


@pytest.mark.timeout(120)
async def test_the_members_of_a_killed_server_are_gone_within_one_and_a_half_leases_everywhere(
    standing: Standing,
) -> None:
    async with (
        standing(servers=3, users=7, PRESENCE_LEASE_SECONDS=LEASE_SECONDS) as (fleet, _, ids),
        contextlib.AsyncExitStack() as stack,
    ):
        house = House(fleet, ids, stack)
        for user in (FIRST, EVERYWHERE):
            await house.enter(user, 0)
        others = [
            await house.enter(user, server) for user, server in ((SECOND, 1), (EVERYWHERE, 1), (THIRD, 2))
        ]
        await all_see(others, house.named(FIRST, SECOND, THIRD, EVERYWHERE))
        fleet.servers[0].kill()
        killed = time.monotonic()
        await all_see(others, house.named(SECOND, THIRD, EVERYWHERE), seconds=1.5 * LEASE_SECONDS)
        print(f"gone everywhere after {(time.monotonic() - killed) / LEASE_SECONDS:.2f} leases")
        assert not any(house.ids[EVERYWHERE] in visitor.left for visitor in others)


@pytest.mark.timeout(120)
async def test_a_server_that_was_stopped_neither_restores_nor_removes_members(standing: Standing) -> None:
    async with (
        standing(servers=3, users=7, PRESENCE_LEASE_SECONDS=2, HEARTBEAT_SECONDS=60) as (fleet, _, ids),
        contextlib.AsyncExitStack() as stack,
    ):
        house = House(fleet, ids, stack)
        waking = [await house.enter(FIRST, 0), await house.enter(EVERYWHERE, 0)]
        leaving = await house.enter(LEAVING, 0)
        others = [
            await house.enter(user, server) for user, server in ((SECOND, 1), (EVERYWHERE, 1), (THIRD, 2))
        ]
        going = await house.enter(GOING, 1)
        await all_see([*waking, *others], house.named(FIRST, SECOND, THIRD, EVERYWHERE, LEAVING, GOING))

        fleet.servers[0].signal(signal.SIGSTOP)
        await all_see(others, house.named(SECOND, THIRD, EVERYWHERE, GOING))
        leaving.vanish()
        await going.leave()
        others.append(await house.enter(COMING, 2))
        await all_see(others, house.named(SECOND, THIRD, EVERYWHERE, COMING))

        for visitor in others:
            visitor.came.clear()
        fleet.servers[0].signal(signal.SIGCONT)
        await all_see([*waking, *others], house.named(FIRST, SECOND, THIRD, EVERYWHERE, COMING))
        for visitor in others:
            assert not set(visitor.left) & house.named(SECOND, THIRD, EVERYWHERE, COMING), "erased"
            assert not set(visitor.came) & house.named(LEAVING, GOING), "resurrected"
