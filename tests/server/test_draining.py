"""The pace of draining, in a time that only moves when told: who is told when, and who comes back when."""

import random

import pytest

from holdfast.connections.pacing import AT_LEAST_PER_SECOND, ReconnectPace, ReconnectSlots
from holdfast.server.draining import TICK_SECONDS, Drain


class Client:
    """A connection that notes when it was told, and when its client comes back."""

    def __init__(self, clock: "World") -> None:
        self.clock = clock
        self.drainable = True
        self.busy = False
        self.told: float | None = None
        self.after = 0.0

    def drain(self, after: float) -> None:
        assert self.drainable, "told twice"
        assert after >= 0
        self.drainable = False
        self.told, self.after = self.clock.now, after

    @property
    def back(self) -> float:
        assert self.told is not None
        return self.told + self.after


class World:
    def __init__(self, count: int, *, seconds: float = 20, patience: float = 10, seed: int = 1) -> None:
        self.now = 1000.0
        self.clients = [Client(self) for _ in range(count)]
        self.drain = Drain(
            lambda: self.clients,
            seconds=seconds,
            patience=patience,
            now=self.now,
            chance=random.Random(seed).random,
        )

    def tick(self, late: float = 0.0) -> bool:
        over = self.drain.tick(self.now)
        self.now += TICK_SECONDS + late
        return over

    def run(self) -> float:
        """Until everybody is told; how long it took."""
        began = self.now
        while not self.tick():
            assert self.now - began < 120, "it does not end"
        return self.now - began

    def most_within(self, seconds: float = 1.0) -> int:
        """The largest number of clients that come back in any span of time."""
        back = sorted(client.back for client in self.clients)
        return max(sum(1 for other in back if start <= other < start + seconds) for start in back)


def test_everybody_is_told_once_within_the_time() -> None:
    world = World(3000)
    assert world.run() == pytest.approx(20, abs=0.5)
    assert all(client.told for client in world.clients)


@pytest.mark.parametrize("count", [1, 7, 400, 3000])
@pytest.mark.parametrize("seed", range(5))
def test_no_second_sees_more_than_the_planned_number_and_a_little(count: int, seed: int) -> None:
    world = World(count, seed=seed)
    planned = world.drain.per_second
    world.run()
    assert world.most_within() <= planned + 2


def test_a_client_waits_for_a_moment_only() -> None:
    world = World(3000)
    world.run()
    assert max(client.after for client in world.clients) <= TICK_SECONDS + 2 / world.drain.per_second


def test_few_connections_do_not_take_the_whole_time() -> None:
    world = World(40)
    assert world.drain.per_second == AT_LEAST_PER_SECOND
    assert world.run() == pytest.approx(2, abs=0.3)


def test_without_a_time_everybody_is_told_at_once() -> None:
    world = World(500, seconds=0)
    world.tick()
    assert max(client.back for client in world.clients) < world.now


def test_a_loop_that_was_late_does_not_make_up_for_it() -> None:
    world = World(3000)
    for _ in range(10):
        world.tick()
    world.now += 3
    planned = world.drain.per_second
    world.run()
    assert all(client.told for client in world.clients)
    assert world.most_within() <= planned + 2


def test_who_leaves_by_itself_leaves_no_burst_behind() -> None:
    world = World(3000)
    for _ in range(50):
        world.tick()
    for client in world.clients[1000:2000]:
        client.drainable = False
        client.told = 0.0
    planned = world.drain.per_second
    world.run()
    world.clients = [client for client in world.clients if client.told]
    assert world.most_within() <= planned + 2


def test_a_connection_with_a_call_under_way_waits_for_its_answer() -> None:
    world = World(100)
    busy = world.clients[0]
    busy.busy = True
    for _ in range(45):
        world.tick()
    assert busy.told is None
    assert sum(client.told is not None for client in world.clients) >= 89, "the others are not held up by it"

    busy.busy = False
    world.run()
    assert busy.told is not None


def test_a_call_that_does_not_end_is_not_waited_for_longer_than_there_is_patience() -> None:
    world = World(3, patience=5)
    world.clients[1].busy = True
    assert world.run() == pytest.approx(5, abs=0.3)
    assert world.clients[1].told is not None


def test_who_connects_meanwhile_is_told_last_and_in_turn() -> None:
    world = World(40)
    world.tick()
    late = [Client(world) for _ in range(30)]
    world.clients += late
    world.run()
    first = max(client.told or 0 for client in world.clients[:40])
    assert all(client.told is not None and client.told >= first for client in late)
    assert world.most_within() <= world.drain.per_second + 2


def test_in_a_hurry_all_are_told_at_once_and_still_come_back_in_turn() -> None:
    world = World(3000)
    for _ in range(50):
        world.tick()
    world.drain.hurry(world.now)

    assert all(client.told is not None and client.told <= world.now for client in world.clients)
    assert world.most_within() <= world.drain.per_second + 2
    assert max(client.back for client in world.clients) - 1000 == pytest.approx(20, abs=0.5)


def test_a_drain_without_connections_is_over_at_once() -> None:
    assert World(0).tick()


def test_clients_of_a_server_that_closes_all_at_once_come_back_one_after_another() -> None:
    slots = ReconnectSlots(ReconnectPace.of(3000, 20), began=50.0)
    chance = random.Random(7).random
    back = [50.0 + slots.after(50.0, chance()) for _ in range(3000)]
    assert max(sum(1 for at in back if start <= at < start + 1) for start in range(50, 70)) <= 152
    assert max(back) == pytest.approx(70, abs=0.1)
