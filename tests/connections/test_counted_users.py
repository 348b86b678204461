"""Counts of a user's connections across processes, while a connection changes its user."""

import asyncio
from typing import Any

import pytest

from holdfast import Topic
from holdfast.connections.admission import Admission
from holdfast.connections.boundary import Boundary, BoundaryPolicy
from holdfast.connections.connection import Connection
from holdfast.limits.base import Rate
from holdfast.limits.shared import Entered, SharedCounts
from holdfast.protocol import codes
from holdfast.protocol.codec import JSON
from tests.support.clock import in_jumping_time
from tests.support.connected import Socket, User, fleet, identity_of


class Room(Topic):
    route = "rooms/<slug:room>"

    async def may_join(self, user: Any) -> bool:
        return True


class SlowCounts(SharedCounts):
    """Counts that answer when the test says so."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.answers = asyncio.Event()

    async def enter(self, key: str, *, limit: int | None = None, rate: Rate | None = None) -> Entered:
        await self.answers.wait()
        self.counts[key] = self.counts.get(key, 0) + 1
        return Entered()

    async def use(self, key: str, rate: Rate) -> float | None:
        return 0.0

    def leave(self, key: str) -> None:
        self.counts[key] -= 1

    async def stop(self) -> None:
        pass


@in_jumping_time
async def test_a_connection_that_is_closed_while_it_changes_its_user_is_counted_out_once() -> None:
    async with fleet(Room) as here:
        process, counts = here.processes[0], SlowCounts()
        service: Any = process.service
        policy = BoundaryPolicy(connections_per_user=5)
        service.boundary = Boundary(
            policy, service.policy.limits, service.connections, process.runtime.counters
        )
        service.boundary.share(counts)
        counts.answers.set()
        ada = identity_of(User(1), None)
        here.tokens["bob"] = User(2)
        admission = await service.boundary.admit("203.0.113.7", 0.0)
        assert isinstance(admission, Admission)
        await admission.identify(ada.owner)
        assert not await service.boundary.enter_user(ada.owner)  # for a second connection of the same user
        hub = await process.runtime.hub()
        socket = Socket(lambda sink: Connection(service, hub, sink, JSON, ada, admission))
        counts.answers.clear()
        socket.say(type="hello", payload={"token": "bob"})
        await asyncio.sleep(0.1)
        socket.connection.hang_up(codes.DRAINING)
        counts.answers.set()
        await asyncio.sleep(0.1)
        socket.connection.closed()
        assert counts.counts["user:1"] == 1
        assert counts.counts["user:2"] == 0


@in_jumping_time
async def test_a_connection_whose_user_object_was_deleted_is_counted_out() -> None:
    """Django sets the primary key of an object to None when it deletes its row, as an action that closes an account does."""
    async with fleet(Room) as here:
        process = here.processes[0]
        service: Any = process.service
        ada = identity_of(User(1), None)
        admission = await service.boundary.admit("203.0.113.7", 0.0)
        assert isinstance(admission, Admission)
        await admission.identify(ada.owner)
        hub = await process.runtime.hub()
        socket = Socket(lambda sink: Connection(service, hub, sink, JSON, ada, admission))
        ada.user.pk = None
        socket.connection.closed()
        assert service.boundary.counts() == {}
        assert len(service.connections) == 0


@in_jumping_time
async def test_a_connection_whose_user_object_was_deleted_still_gets_its_answers() -> None:
    async with fleet(Room) as here:
        here.tokens |= {"ada": User(1), "bob": User(2)}
        for token, answer in (("ada", "result"), ("bob", "goodbye")):
            socket = await here.processes[0].connect(User(1), session="s1")
            socket.connection.identity.user.pk = None
            assert (await socket.join("rooms/lobby"))["type"] == "joined"
            socket.say(type="refresh", ref=2, payload={"token": token})
            assert await socket.types() == [answer]


@in_jumping_time
async def test_an_unexpected_error_while_a_token_is_checked_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fleet(Room) as here:
        service: Any = here.processes[0].service
        socket = await here.processes[0].connect(User(1))

        async def fail(before: str | None, after: str | None) -> float:
            raise ZeroDivisionError

        service.boundary.change_user = fail
        here.tokens["again"] = User(1)
        socket.say(type="refresh", ref=1, payload={"token": "again"})
        assert await socket.types() == ["goodbye"]
        assert socket.closed == codes.FAILED.close
        assert "ZeroDivisionError" in caplog.text
