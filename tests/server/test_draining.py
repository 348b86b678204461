"""The pace of draining, on a clock that moves only on request: when each connection is closed, and when its client reconnects."""

import random

import pytest

from holdfast.connections.pacing import AT_LEAST_PER_SECOND, ReconnectPace, ReconnectSlots
from holdfast.server.draining import TICK_SECONDS, Drain


class Client:
    """A connection that records when it was closed, and when its client reconnects."""

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
        """Tick until all are closed. Return how long it took."""
        began = self.now
        while not self.tick():
            assert self.now - began < 120, "it does not end"
        return self.now - began

    def most_within(self, seconds: float = 1.0) -> int:
        """Return the largest number of clients that reconnect within any ``seconds``."""
        back = sorted(client.back for client in self.clients)
        return max(sum(1 for other in back if start <= other < start + seconds) for start in back)


def test_every_connection_is_closed_once_within_the_time() -> None:
    world = World(3000)
    assert world.run() == pytest.approx(20, abs=0.5)
    assert all(client.told for client in world.clients)


@pytest.mark.parametrize("count", [1, 7, 400, 3000])
@pytest.mark.parametrize("seed", range(5))
def test_no_second_exceeds_the_planned_number_by_more_than_a_little(count: int, seed: int) -> None:
    world = World(count, seed=seed)
    planned = world.drain.per_second
    world.run()
    assert world.most_within() <= planned + 2


def test_a_client_waits_only_for_a_moment() -> None:
    world = World(3000)
    world.run()
    assert max(client.after for client in world.clients) <= TICK_SECONDS + 2 / world.drain.per_second


def test_few_connections_do_not_take_the_whole_time() -> None:
    world = World(40)
    assert world.drain.per_second == AT_LEAST_PER_SECOND
    assert world.run() == pytest.approx(2, abs=0.3)


def test_with_zero_seconds_all_are_closed_at_once() -> None:
    world = World(500, seconds=0)
    world.tick()
    assert max(client.back for client in world.clients) < world.now


def test_a_late_loop_does_not_make_up_for_missed_slots() -> None:
    world = World(3000)
    for _ in range(10):
        world.tick()
    world.now += 3
    planned = world.drain.per_second
    world.run()
    assert all(client.told for client in world.clients)
    assert world.most_within() <= planned + 2


def test_clients_that_leave_by_themselves_cause_no_burst() -> None:
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


def test_a_connection_with_a_running_call_waits_for_its_answer() -> None:
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


def test_a_call_that_does_not_end_is_waited_for_no_longer_than_the_patience() -> None:
    world = World(3, patience=5)
    world.clients[1].busy = True
    assert world.run() == pytest.approx(5, abs=0.3)
    assert world.clients[1].told is not None


def test_clients_that_connect_during_the_drain_come_last_and_in_turn() -> None:
    world = World(40)
    world.tick()
    late = [Client(world) for _ in range(30)]
    world.clients += late
    world.run()
    first = max(client.told or 0 for client in world.clients[:40])
    assert all(client.told is not None and client.told >= first for client in late)
    assert world.most_within() <= world.drain.per_second + 2


def test_in_a_hurry_all_are_closed_at_once_and_still_reconnect_in_turn() -> None:
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
