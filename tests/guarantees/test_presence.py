"""G7: no connected member is missing, no other one stays listed, and no diff contradicts the client's list.

Servers share a store of presence and a backplane. Clients connect, leave, reload and stop reading; servers are killed, paused
until others take them for dead, resumed, and stopped; the store answers late, fails before or after it has carried out a
command, and loses its memory; messages between servers are lost, doubled, delayed and reordered. Time is advanced.

During the story each client's list, kept as ``PROTOCOL.md`` says, is compared with the connected members. A state that has
lasted long enough must be in the list. How long that is depends on the faults at the time; the method of each fault says it.
In the end every client must agree with the store.
"""

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock import JumpingLoop
from tests.support.hubs import TOPIC
from tests.support.presence import LEASE, Coast, Harbour, Watcher

from .conftest import PROFILE
from .stories import Kinds, Step, all_action, seeds, stories

LENGTH = 60
MEMBERS = ["ada", "grace", "linus", "mary", "noor", "olga"]
LIMIT = 4
SETTLE = 0.6
"""Until a change is seen everywhere while nothing goes wrong: a few round trips of at most 0.06 s each, and the reads."""

REPAIR = 2.0 + 1.0 + SETTLE
"""Until what went wrong between servers, or with their store, has been noticed and made good: a comparison, a retry."""

DEATH = 1.5 * LEASE
REENTRY = LEASE / 3 + REPAIR


class Story:
    """Servers, clients, and the expectations that hold for them at the moment."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.late: list[tuple[Callable[[], None], int]] = []
        self.sky = "fair"
        self.calm_at = 0.0  # what has been so since this time is seen
        self.unsure: dict[str, float] = {}  # until when a member may be seen or not
        self.blind: dict[Harbour, float] = {}  # until when a server's clients may see something old
        self.misfortunes: list[float] = []  # when servers died or slept

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(self) -> None:
        self.coast = Coast(self.chance)
        self.coast.exchange.fault = self._weather
        for _ in range(3):
            await self._start()

    async def _start(self) -> None:
        server = await self.coast.server()
        backplane = server.server.backplane
        deliver = backplane.deliver

        def when_awake(topic: str, message: bytes) -> None:
            if server.asleep:
                self._held.setdefault(server, []).append(lambda: deliver(topic, message))
            else:
                deliver(topic, message)

        backplane.deliver = when_awake  # type: ignore[method-assign]

    _held: dict[Harbour, list[Callable[[], None]]]

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def _server(self, number: int) -> Harbour:
        running = self.coast.running
        return running[number % len(running)]

    def _client(self, number: int) -> tuple[Harbour, Watcher] | None:
        pairs = [(server, client) for server in self.coast.running for client in server.clients]
        return pairs[number % len(pairs)] if pairs else None

    async def join(self, server: int, member: str | None) -> None:
        found = self._server(server)
        if not found.asleep:
            self._moved(member)
            await found.join(member, limit=LIMIT)

    async def leave(self, number: int) -> None:
        pair = self._client(number)
        if pair is not None and not pair[0].asleep:
            self._moved(pair[1].member)
            pair[0].leave(pair[1])

    async def reload(self, number: int, server: int) -> None:
        pair = self._client(number)
        if pair is not None and not pair[0].asleep:
            self._moved(pair[1].member)
            pair[0].leave(pair[1])
            await self.join(server, pair[1].member)

    def _moved(self, member: str | None) -> None:
        """Note that a member comes or goes, perhaps from one server to another."""
        if member is not None:
            self.unsure[member] = max(self.unsure.get(member, 0), self.now + SETTLE)

    async def stop_reading(self, number: int) -> None:
        if (pair := self._client(number)) is not None:
            pair[1].ready = False

    async def read_on(self, number: int) -> None:
        if (pair := self._client(number)) is not None and not pair[0].asleep:
            pair[0].resume(pair[1])

    async def all_clients_read(self) -> None:
        for server in self.coast.running:
            for client in server.clients:
                if not server.asleep:
                    server.resume(client)

    async def kill(self, number: int) -> None:
        server = self._server(number)
        self._misfortune(server)
        self._held.pop(server, None)
        await server.kill()
        await self._start()

    async def stop(self, number: int) -> None:
        server = self._server(number)
        if not server.asleep and not server.reach.away:
            for client in server.clients:
                self._moved(client.member)
            await server.stop()
            await self._start()

    async def sleep(self, number: int) -> None:
        server = self._server(number)
        if not server.asleep:
            server.asleep = True
            server.reach.sleep()
            self._misfortune(server)

    async def wake(self, number: int) -> None:
        server = self._server(number)
        if server.asleep:
            self._misfortune(server)
            server.asleep = False
            for arrive in self._held.pop(server, []):
                arrive()
            server.reach.wake()
            self.blind[server] = self.now + REENTRY

    def _misfortune(self, server: Harbour) -> None:
        """Note that a server dies, pauses or resumes: it may just have begun to remove the members of another one."""
        self.misfortunes.append(self.now)
        recent = sum(time > self.now - 4 * DEATH for time in self.misfortunes)
        members = {client.member for client in server.clients if client.member}
        for member in {*members, *(m for m, until in self.unsure.items() if until > self.now)}:
            self.unsure[member] = self.now + DEATH * recent + REENTRY

    async def weather(self, sky: str) -> None:
        self.sky = sky
        if sky == "fair":
            await self.late_messages_arrive()
        self._wild(REPAIR)

    async def late_messages_arrive(self) -> None:
        late, self.late = self.late, []
        self.chance.shuffle(late)
        for topic, message in late:  # type: ignore[assignment]
            for server in self.coast.running:
                server.server.backplane.deliver(topic, message)  # type: ignore[arg-type]

    def _weather(self, topic: str, message: bytes) -> list[bytes]:
        sky = self.chance.choice(["fair", "lose", "double", "delay"]) if self.sky == "mix" else self.sky
        if sky == "delay":
            self.late.append((topic, message))  # type: ignore[arg-type]
        return {"fair": [message], "lose": [], "double": [message, message], "delay": []}[sky]

    def _wild(self, seconds: float) -> None:
        self.calm_at = max(self.calm_at, self.now + seconds)

    async def interrupt(self) -> None:
        self.coast.exchange.interrupt()

    async def outage(self, number: int, where: str) -> None:
        self._server(number).reach.away = where

    async def end_of_outage(self, number: int) -> None:
        server = self._server(number)
        if server.reach.away:
            server.reach.away = ""
            self._wild(DEATH + REENTRY)  # it may have lasted long enough to be taken for dead

    async def lose_memory(self) -> None:
        self.coast.place.lose_memory()
        self._wild(REENTRY + REPAIR)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # ── what is expected ─────────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Note the connected members, and compare the clients' lists with them."""
        connected = self.connected
        if self.sky != "fair" or any(server.reach.away for server in self.coast.running):
            self._wild(REPAIR)
        if self.now < self.calm_at:
            return
        unsure = {member for member, until in self.unsure.items() if until >= self.now}
        unsure |= {c.member for s in self.coast.running if s.asleep for c in s.clients if c.member}
        for server in self.coast.running:
            if not server.asleep and self.blind.get(server, 0) < self.now:
                for client in server.clients:
                    if client.ready and client.joined_at + SETTLE < self.now:  # type: ignore[attr-defined]
                        self.compare(client, connected, unsure)

    @property
    def connected(self) -> set[str]:
        return {client.member for server in self.coast.running for client in server.clients if client.member}

    def compare(self, client: Watcher, connected: set[str], unsure: set[str]) -> None:
        if client.view is not None:
            assert set(client.view) - unsure == connected - unsure
        elif not unsure:
            assert client.count == len(connected)
            assert len(connected) > LIMIT

    async def play(self, steps: list[Step]) -> None:
        self._held = {}
        await self.begin()
        for step, *arguments in steps:
            if step is not None:
                await step(self, *arguments)
                for server in self.coast.running:
                    for client in server.clients:
                        if not hasattr(client, "joined_at"):
                            client.joined_at = self.now  # type: ignore[attr-defined]
                self.look()
        await self.end()

    async def end(self) -> None:
        """End all faults, and check that all clients agree."""
        await self.weather("fair")
        for number in range(len(self.coast.running)):
            await self.wake(number)
            await self.end_of_outage(number)
        await self.all_clients_read()
        await asyncio.sleep(3 * DEATH + REENTRY)
        self.look()
        connected = self.connected
        assert set(self.coast.place.members(TOPIC, 100, lambda *_: None).members or ()) == connected
        [mark] = await self.coast.place.marks([TOPIC])
        for server in self.coast.running:
            for client in server.clients:
                self.compare(client, connected, set())
            room = server.presence._topics.get(TOPIC)
            assert room is None or not room.open or room.replica.mark == mark
            assert server.presence._old == {}
        for server in self.coast.running:
            await server.stop()
        assert self.coast.place.here() == set()


THREE, TEN = [0, 1, 2], list(range(10))
KINDS: Kinds = [
    (Story.join, THREE, MEMBERS),
    (Story.join, THREE, MEMBERS),
    (Story.join, THREE, MEMBERS),
    (Story.join, THREE, MEMBERS),
    (Story.join, THREE, [*MEMBERS, None]),
    (Story.leave, TEN),
    (Story.leave, TEN),
    (Story.leave, TEN),
    (Story.reload, TEN, THREE),
    (Story.stop_reading, TEN),
    (Story.read_on, TEN),
    (Story.all_clients_read,),
    (Story.kill, THREE),
    (Story.stop, THREE),
    (Story.sleep, THREE),
    (Story.wake, THREE),
    (Story.wake, THREE),
    (Story.weather, ["fair", "fair", "lose", "double", "delay", "mix"]),
    (Story.weather, ["fair"]),
    (Story.late_messages_arrive,),
    (Story.interrupt,),
    (Story.outage, THREE, ["before", "after"]),
    (Story.end_of_outage, THREE),
    (Story.end_of_outage, THREE),
    (Story.lose_memory,),
    (Story.wait, [0, 0.001, 0.02, 0.3]),
    (Story.wait, [0, 0.001, 0.02, 0.3]),
    (Story.wait, [0.001, 0.02, 0.3, 1]),
    (Story.wait, [0.3, 1, 3, 5]),
    (Story.wait, [3, 6, 20, 40]),
]


def tell(seed: int, steps: list[Step]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(Story(seed).play(steps))


@pytest.mark.timeout(3600)
@settings(PROFILE)
@given(seed=st.integers(0, 2**16), steps=stories(KINDS, LENGTH))
def test_every_client_sees_the_members(seed: int, steps: list[Step]) -> None:
    tell(seed, steps)


@pytest.mark.timeout(3600)
def test_random_stories_keep_the_guarantee() -> None:
    for seed in seeds(5):
        tell(seed, all_action(KINDS, LENGTH, seed))
