"""Many clients in one process: ``python -m tests.fleet.chaos.crowd PLAN``, where PLAN is a file with a :class:`Plan`.

It takes commands on its standard input, one per line: make no more calls (``hush``), get to the end of every topic
(``catch-up`` and the heads as JSON), and record the position of every client (``finish``). It answers each with a line
that counts the clients which are not yet at their goal, when all are or when the given time is over. It runs until its
standard input ends.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from .client import Character, Client, Way
from .listeners import PollingClient, StreamClient
from .records import Journal

FINISH_SECONDS = 3.0
"""Within which a client that is where it should be can be seen there."""

CARRIERS: dict[str, type[Client]] = {"websocket": Client, "stream": StreamClient, "polling": PollingClient}


class Plan(msgspec.Struct, kw_only=True):
    """``ways`` are the addresses to connect to; ``upstreams`` maps an address behind nginx to its server."""

    characters: list[Character]
    ways: list[Way]
    upstreams: dict[str, int]
    journal: str
    arrive_within: float = 3.0
    patience: float = 20.0


async def main(plan: Plan) -> None:
    journal = Journal(Path(plan.journal))
    clients = [
        CARRIERS[character.carrier](character, plan.ways, plan.upstreams, journal)
        for character in plan.characters
    ]
    pause = plan.arrive_within / max(len(clients), 1)
    tasks = [asyncio.create_task(_arrive(client, number * pause)) for number, client in enumerate(clients)]
    writing = asyncio.create_task(_flush(journal))
    orders = await _standard_input()
    try:
        while line := (await orders.readline()).decode():
            word, _, rest = line.strip().partition(" ")
            if word == "hush":
                for client in clients:
                    client.hushed = True
                await _until(lambda: not any(client.state.pending for client in clients), plan.patience)
            elif word == "catch-up":
                for client in clients:
                    client.heads = msgspec.json.decode(rest)
                await _until(lambda: not any(client.missing for client in clients), plan.patience)
            elif word == "finish":
                await asyncio.gather(*[_finish(client) for client in clients])
            for task in tasks:
                if task.done():
                    task.result()  # a guest has left, or a client failed
            journal.flush()
            print(word, sum(bool(client.missing) for client in clients), flush=True)
    finally:
        for task in (*tasks, writing):
            task.cancel()
        await asyncio.gather(*tasks, writing, return_exceptions=True)
        journal.flush()


async def _finish(client: Client) -> None:
    """Behind nginx a poll may begin a new session, whose topics are joined by the answers that follow: not at each moment."""
    await _until(lambda: not client.missing, FINISH_SECONDS)
    client.finish()


async def _arrive(client: Client, after: float) -> None:
    await asyncio.sleep(after)
    await client.run()


async def _flush(journal: Journal) -> None:
    while True:
        await asyncio.sleep(1)
        journal.flush()


async def _until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:  # noqa: ASYNC110 - many things make it hold
        await asyncio.sleep(0.1)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
