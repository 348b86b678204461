"""Each client against a real server, over lines that break by random schedules: every event once and in order, every call carried out
once, no attempt sooner than the backoff permits, and nothing left at the end."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from holdfast.client import RemoteEvent, RemoteLive, connect
from holdfast.client.backoff import Backoff
from holdfast.client.socket import Socket, web_sockets
from tests.client.fault_proxy import FaultProxy, faulty
from tests.client.node_client import node_clients, said
from tests.client.schedule import Attempt, Heard, Schedule, judge

from .http import CSRF
from .servers import SERVERS, Running

SCHEDULES = int(os.environ.get("HOLDFAST_SCHEDULES", "10"))
"""Schedules of each client in one run; ``scripts/schedules`` runs more."""

FIRST = int(os.environ.get("HOLDFAST_FIRST_SEED", "0"))
AT_ONCE = int(os.environ.get("HOLDFAST_SCHEDULES_AT_ONCE", "12"))
SECONDS = 120.0
"""Seconds for one schedule. It takes about two, on a machine that has time for it."""

RETRY_SECONDS = "0.1"
"""Seconds for which an event stream asks its client to wait at most. With the server's own one to four seconds no attempt would ever
come as soon as the backoff permits, so that a client without a backoff would pass."""

BYTES_OF_THIRD = {"browser-polling": 12_000}
"""Bytes after which every third connection ends at most, where that is not the proxy's own. The answer to a poll is whole or lost, and all
events of a schedule have to fit into one: a client that is far behind could never come back."""

pytestmark = [
    pytest.mark.parametrize(
        "server",
        [
            replace(kind, environment={"LIVE_RETRY_SECONDS": RETRY_SECONDS})
            for kind in SERVERS
            if kind.name == "holdfast"
        ],
        indirect=True,
        ids=["holdfast"],
    ),
    pytest.mark.timeout(60 + SCHEDULES * SECONDS),
]

Play = Callable[[Schedule, FaultProxy, Running, str], Awaitable[Heard]]


async def take(topic: Any, count: int) -> list[Any]:
    taken: list[Any] = []
    async for item in topic:
        assert isinstance(item, RemoteEvent), item
        taken.append(item.payload)
        if len(taken) == count:
            break
    return taken


class NotedBackoff(Backoff):
    """The backoff of a Python client, with notes of its attempts for the judge."""

    def __init__(self, chance: Callable[[], float], *, base: float, cap: float) -> None:
        super().__init__(chance, base=base, cap=cap)
        self.attempts: list[Attempt] = []
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._planned: tuple[float, float, float] | None = None
        self.opened = False
        """Whether the newest attempt has opened a connection."""

    def next(self) -> float:
        wait, now = super().next(), self._clock()
        self._planned = now, wait, now - self._began if self.opened else 0.0
        return wait

    def begin(self) -> None:
        """Note that an attempt begins."""
        self._began, self.opened = self._clock(), False
        if self._planned is not None:
            at, wait, lasted = self._planned
            self.attempts.append(Attempt(lasted=lasted, planned=wait, waited=self._began - at))
            self._planned = None


async def play_python(schedule: Schedule, proxy: FaultProxy, server: Running, room: str) -> Heard:
    heard = Heard()
    backoff = NotedBackoff(lambda: schedule.chance, base=schedule.base, cap=schedule.cap)
    open_socket = web_sockets({"Cookie": server.users["ada"].cookie}, server.origin, {"port": proxy.port})

    @contextlib.asynccontextmanager
    async def noted(url: str) -> AsyncIterator[Socket]:
        backoff.begin()
        async with open_socket(url) as socket:
            backoff.opened = True
            yield socket

    live = RemoteLive(
        server.live,
        token=None,
        client=uuid4().hex,
        backoff=backoff,
        chance=lambda: schedule.chance,
        open_socket=noted,
    )
    async with live:
        topic = await live.join(room)
        heard.answers = await asyncio.gather(*[topic.call("say", text=text) for text in schedule.texts])
        proxy.calm = True
        heard.events = await take(topic, schedule.calls)
    heard.attempts = backoff.attempts
    return heard


@contextlib.asynccontextmanager
async def python_clients() -> AsyncIterator[Play]:
    before = asyncio.all_tasks()
    yield play_python
    await asyncio.sleep(0)
    left = [repr(task) for task in asyncio.all_tasks() - before if "holdfast" in repr(task)]
    assert left == [], "tasks that are left"


@contextlib.asynccontextmanager
async def browser_clients(transport: str) -> AsyncIterator[Play]:
    async with node_clients() as nodes:

        async def play_node(schedule: Schedule, proxy: FaultProxy, server: Running, room: str) -> Heard:
            origin = server.origin.replace(str(server.port), str(proxy.port))
            client = nodes.playing(
                seed=schedule.seed,
                url=server.live.replace(str(server.port), str(proxy.port)),
                transport=transport,
                topic=room,
                headers={
                    "Cookie": f"{server.users['ada'].cookie}; csrftoken={CSRF}",
                    "Origin": origin,
                    "X-CSRFToken": CSRF,
                },
                texts=schedule.texts,
                chance=schedule.chance,
                base=schedule.base,
                cap=schedule.cap,
            )
            with client as inbox:
                assert (await said(inbox, SECONDS))["ready"]
                answers = (await said(inbox, SECONDS))["answers"]
                proxy.calm = True
                end = await said(inbox, SECONDS)
            attempts = [Attempt(**attempt) for attempt in end["attempts"]]
            return Heard(answers=answers, events=end["events"], attempts=attempts, left=end["left"])

        yield play_node


CLIENTS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Play]]] = {
    "python": python_clients,
    "browser": partial(browser_clients, "websocket"),
    "browser-sse": partial(browser_clients, "sse"),
    "browser-polling": partial(browser_clients, "polling"),
}
"""The Python client speaks WebSocket only."""


async def run(
    schedule: Schedule,
    client: str,
    play: Play,
    server: Running,
    watcher: RemoteLive,
    faults: Counter[str],
    *,
    played: Schedule | None = None,
) -> list[str]:
    """Play one schedule. Return what is wrong. ``played`` is what the client is told instead of the schedule that it is judged by."""
    room = f"rooms/r{uuid4().hex[:12]}"
    seen = await watcher.join(room)
    try:
        third = BYTES_OF_THIRD.get(client, 4000)
        async with (
            asyncio.timeout(SECONDS),
            faulty(server.port, schedule.seed, bytes_of_third=third) as proxy,
        ):
            heard = await play(played or schedule, proxy, server, room)
            told = await take(seen, schedule.calls)
    except (TimeoutError, AssertionError) as error:
        return [f"seed {schedule.seed}: {error!r}"]
    finally:
        await watcher.leave(room)
    faults.update(proxy.faults)
    faults["connection"] += 1 + len(heard.attempts)
    return judge(schedule, heard, told)


def watching(server: Running) -> RemoteLive:
    """A client on a line that does not break."""
    return connect(server.live, headers={"Cookie": server.users["ada"].cookie}, origin=server.origin)


@pytest.mark.parametrize("client", CLIENTS)
async def test_on_lines_that_break_nothing_is_lost_doubled_or_hurried(server: Running, client: str) -> None:
    faults: Counter[str] = Counter()
    wrong: list[str] = []
    took: dict[int, float] = {}
    waiting = iter(range(FIRST, FIRST + SCHEDULES))
    clock = asyncio.get_running_loop().time

    async def work(play: Play, watcher: RemoteLive) -> None:
        for seed in waiting:
            began = clock()
            found = await run(Schedule(seed=seed), client, play, server, watcher, faults)
            if found:
                print(*found, sep="\n", flush=True)
            wrong.extend(found)
            took[seed] = clock() - began

    try:
        async with CLIENTS[client]() as play, watching(server) as watcher:
            await asyncio.gather(*[work(play, watcher) for _ in range(AT_ONCE)])
    except AssertionError as error:
        wrong.append(str(error))
    slowest = max(took, key=took.__getitem__, default=FIRST)
    print(
        f"{SCHEDULES} schedules of the {client} client from seed {FIRST}: {dict(faults)}, {len(wrong)} violations;"
        f" the slowest, seed {slowest}, took {took.get(slowest, 0.0):.1f} s"
    )
    assert wrong == []
    assert faults["connection"] > 2 * SCHEDULES, "the lines broke"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_that_comes_back_too_soon_is_found(server: Running, client: str) -> None:
    async def wrong_with(seed: int) -> list[str]:
        judged = Schedule(seed=seed)
        hurried = replace(judged, base=judged.base / 2, cap=judged.cap / 2)
        return await run(judged, client, play, server, watcher, Counter(), played=hurried)

    async with CLIENTS[client]() as play, watching(server) as watcher:
        wrong = [what for found in await asyncio.gather(*map(wrong_with, range(4))) for what in found]
    assert wrong != []
    assert all("was planned after" in what for what in wrong)
