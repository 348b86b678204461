"""Snapshots that joins share, and the reads that joins are charged for."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from holdfast.hub.hub import Timing
from holdfast.hub.snapshots import KEPT_BYTES, Snapshot, Snapshots, State
from holdfast.protocol.positions import Position
from holdfast.streams.stream import Stream
from tests.support.clock import in_jumping_time, turns
from tests.support.hubs import TOPIC, Listener, Server, World, join, publish


class Board:
    """State whose snapshot takes a while. ``runs`` counts the snapshots."""

    def __init__(self, world: World | None = None, *, size: int = 0) -> None:
        self.world = world
        self.runs = 0
        self.state = "a"
        self.size = size
        self.error: Exception | None = None

    async def read(self, begin: Callable[[], None]) -> State:
        begin()
        self.runs += 1
        position = None if self.world is None else self.world.head()
        state = msgspec.json.encode(self.state + "x" * self.size)
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        return position, state

    async def join(self, server: Server, key: object = None, charge: Callable[[], None] = int) -> Listener:
        async def charged() -> None:
            charge()

        listener = Listener()
        snapshot = Snapshot(read=self.read, key=key)  # type: ignore[arg-type]
        await join(
            server.hub,
            listener,
            TOPIC,
            durable=self.world is not None,
            snapshot=snapshot,
            charge=charged,
        )
        return listener


def told(listener: Listener) -> tuple[str, int | None]:
    assert listener.joined is not None
    return msgspec.json.decode(listener.joined.snapshot), listener.joined.offset


@in_jumping_time
async def test_joins_at_the_same_time_share_a_snapshot_and_miss_no_event_after_it() -> None:
    world = World()
    world.write(1)
    server, board = await world.server(), Board(world)
    early = [asyncio.ensure_future(board.join(server)) for _ in range(20)]
    await turns()
    publish(server, 2)
    late = [asyncio.ensure_future(board.join(server)) for _ in range(20)]
    listeners = await asyncio.gather(*early, *late)
    publish(server, 3)
    await turns()
    assert board.runs == 1
    for listener in listeners:
        assert told(listener) == ("a", 1)
        assert listener.offsets == [2, 3]


@in_jumping_time
async def test_a_snapshot_is_reused_while_its_position_stands_and_for_a_second() -> None:
    world = World()
    server, board = await world.server(), Board(world)
    for _ in range(5):
        await board.join(server)
    assert board.runs == 1

    publish(server, 1)
    board.state = "b"
    assert told(await board.join(server)) == ("b", 1)
    assert told(await board.join(server)) == ("b", 1)
    assert board.runs == 2

    board.state = "changed without an event"
    await asyncio.sleep(1.1)
    assert told(await board.join(server)) == ("changed without an event", 1)
    assert board.runs == 3


@in_jumping_time
async def test_reuse_can_be_turned_off() -> None:
    world = World(timing=Timing(patience=0, snapshot=0))
    server, board = await world.server(), Board(world)
    await board.join(server)
    board.state = "b"
    assert told(await board.join(server)) == ("b", 0)


@in_jumping_time
async def test_hosts_do_not_share_where_handlers_tell_them_apart() -> None:
    world = World()
    server, board = await world.server(), Board(world)
    await asyncio.gather(
        *[board.join(server, key=host) for host in ("a.example", "b.example") for _ in range(3)]
    )
    assert board.runs == 2


@in_jumping_time
async def test_without_a_log_a_join_gets_a_state_that_was_read_after_it_asked() -> None:
    server, board = await World().server(), Board()
    first = asyncio.ensure_future(board.join(server))
    await turns()
    board.state = "b"  # after the first one has begun to read
    later = [asyncio.ensure_future(board.join(server)) for _ in range(10)]
    assert told(await first)[0] == "a"
    assert {told(listener)[0] for listener in await asyncio.gather(*later)} == {"b"}
    assert board.runs == 2


@in_jumping_time
async def test_an_error_reaches_all_that_share_the_run_and_is_not_kept() -> None:
    world = World()
    server, board = await world.server(), Board(world)
    board.error = ValueError("broken")
    joins = await asyncio.gather(*[board.join(server) for _ in range(3)], return_exceptions=True)
    assert [str(error) for error in joins] == ["broken"] * 3
    board.error = None
    assert told(await board.join(server)) == ("a", 0)
    assert board.runs == 2


@in_jumping_time
async def test_a_run_goes_on_while_one_join_waits_and_ends_with_the_last() -> None:
    world = World()
    server, board = await world.server(), Board(world)
    joins = [asyncio.ensure_future(board.join(server)) for _ in range(3)]
    await turns()
    joins[0].cancel()
    await turns()
    assert told(await joins[1]) == ("a", 0)
    publish(server, 1)
    last = asyncio.ensure_future(board.join(server))
    await turns()
    (run,) = server.hub._joins._snapshots._runs.values()
    last.cancel()
    await turns()
    assert run.task.cancelled()
    assert not server.hub._joins._snapshots._runs


@in_jumping_time
async def test_kept_snapshots_are_bounded_and_dropped_when_they_are_too_old() -> None:
    world = World()
    server = await world.server()
    snapshots: Snapshots = server.hub._joins._snapshots
    for n in range(6):
        await Board(world, size=4_000_000).join(server, key=n)
        assert snapshots._bytes == sum(len(taken.state) for taken in snapshots._kept.values()) <= KEPT_BYTES
    await asyncio.sleep(1.1)
    assert (snapshots._bytes, len(snapshots._kept)) == (0, 0)


class Charges:
    """Counts what joins are charged, and refuses beyond a number."""

    def __init__(self, most: int = 1000) -> None:
        self.count, self.most = 0, most

    def __call__(self) -> None:
        if self.count >= self.most:
            raise PermissionError
        self.count += 1


@in_jumping_time
async def test_a_join_is_charged_for_a_snapshot_of_its_own_only() -> None:
    world, charges = World(), Charges()
    server, board = await world.server(), Board(world)
    await asyncio.gather(*[board.join(server, charge=charges) for _ in range(1)])
    await asyncio.gather(*[board.join(server, charge=charges) for _ in range(10)])
    assert (board.runs, charges.count) == (1, 1)


@in_jumping_time
async def test_a_join_is_charged_for_a_page_that_must_be_read() -> None:
    world = World()
    world.write(*range(10))
    server, charges = await world.server(), Charges(2)

    async def charged() -> None:
        charges()

    async def from_position(position: Position) -> Listener:
        listener = Listener()
        await join(server.hub, listener, TOPIC, durable=True, since=position, charge=charged)
        return listener

    head = world.head()
    await from_position(head)
    assert charges.count == 0, "nothing was read"
    await from_position(Position(epoch=head.epoch, offset=3))
    await from_position(Position(epoch=head.epoch, offset=3))
    assert charges.count == 1, "the page is at hand"
    await from_position(Position(epoch="other", offset=3))
    assert charges.count == 2
    with pytest.raises(PermissionError):
        await from_position(Position(epoch=head.epoch, offset=1, stamp=5))
    stream: Stream = server.hub._streams[TOPIC]
    assert stream.visitors == 0
