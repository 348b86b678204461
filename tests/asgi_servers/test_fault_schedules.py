"""Each client against a real server, over lines that break by random schedules: every event once and in order, every call carried out
once, no attempt sooner than the backoff permits, and nothing left at the end."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from holdfast.client import RemoteEvent, RemoteLive, connect
from holdfast.client.backoff import Backoff
from holdfast.client.socket import Socket, web_sockets
from tests.client.fault_proxy import FaultProxy, faulty
from tests.client.node_client import node_clients, said
from tests.client.schedule import Heard, Schedule, judge

from .http import CSRF
from .servers import SERVERS, Running

SCHEDULES = int(os.environ.get("HOLDFAST_SCHEDULES", "10"))
"""Schedules of each client in one run; ``scripts/schedules`` runs more."""

FIRST = int(os.environ.get("HOLDFAST_FIRST_SEED", "0"))
AT_ONCE = 12
SECONDS = 120.0
"""Seconds for one schedule. An event stream that breaks asks its client to wait for up to four seconds, whatever the backoff is."""

pytestmark = [
    pytest.mark.parametrize(
        "server", [kind for kind in SERVERS if kind.name == "holdfast"], indirect=True, ids=["holdfast"]
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


async def play_python(schedule: Schedule, proxy: FaultProxy, server: Running, room: str) -> Heard:
    heard, ended, clock = Heard(), [0.0], asyncio.get_running_loop().time
    open_socket = web_sockets({"Cookie": server.users["ada"].cookie}, server.origin, {"port": proxy.port})

    @contextlib.asynccontextmanager
    async def timed(url: str) -> AsyncIterator[Socket]:
        if ended[0]:
            heard.waits.append(clock() - ended[0])
        try:
            async with open_socket(url) as socket:
                yield socket
        finally:
            ended[0] = clock()

    live = RemoteLive(
        server.live,
        token=None,
        client=uuid4().hex,
        backoff=Backoff(lambda: schedule.chance, base=schedule.base, cap=schedule.cap),
        chance=lambda: schedule.chance,
        open_socket=timed,
    )
    async with live:
        topic = await live.join(room)
        heard.answers = await asyncio.gather(*[topic.call("say", text=text) for text in schedule.texts])
        proxy.calm = True
        heard.events = await take(topic, schedule.calls)
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
            return Heard(answers=answers, events=end["events"], waits=end["waits"], left=end["left"])

        yield play_node


CLIENTS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Play]]] = {
    "python": python_clients,
    "browser": partial(browser_clients, "websocket"),
    "browser-sse": partial(browser_clients, "sse"),
    "browser-polling": partial(browser_clients, "polling"),
}
"""The Python client speaks WebSocket only."""


async def run(
    schedule: Schedule, play: Play, server: Running, watcher: RemoteLive, faults: Counter[str]
) -> list[str]:
    """Play one schedule. Return what is wrong."""
    room = f"rooms/r{uuid4().hex[:12]}"
    seen = await watcher.join(room)
    try:
        async with asyncio.timeout(SECONDS), faulty(server.port, schedule.seed) as proxy:
            heard = await play(schedule, proxy, server, room)
            told = await take(seen, schedule.calls)
    except (TimeoutError, AssertionError) as error:
        return [f"seed {schedule.seed}: {error!r}"]
    finally:
        await watcher.leave(room)
    faults.update(proxy.faults)
    faults["connection"] += 1 + len(heard.waits)
    return judge(schedule, heard, told)


@pytest.mark.parametrize("client", CLIENTS)
async def test_on_lines_that_break_nothing_is_lost_doubled_or_hurried(server: Running, client: str) -> None:
    faults: Counter[str] = Counter()
    wrong: list[str] = []
    waiting = iter(range(FIRST, FIRST + SCHEDULES))

    async def work(play: Play, watcher: RemoteLive) -> None:
        for seed in waiting:
            wrong.extend(await run(Schedule(seed=seed), play, server, watcher, faults))

    watching = connect(server.live, headers={"Cookie": server.users["ada"].cookie}, origin=server.origin)
    try:
        async with CLIENTS[client]() as play, watching as watcher:
            await asyncio.gather(*[work(play, watcher) for _ in range(AT_ONCE)])
    except AssertionError as error:
        wrong.append(str(error))
    print(
        f"{SCHEDULES} schedules of the {client} client from seed {FIRST}: {dict(faults)}, {len(wrong)} violations"
    )
    assert wrong == []
    assert faults["connection"] > 2 * SCHEDULES, "the lines broke"
