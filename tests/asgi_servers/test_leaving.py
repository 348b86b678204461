"""Responses without an end, when their server stops: event streams and polls."""

import asyncio
import json
import signal
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from .conftest import Pool
from .http import SECONDS, EventStream, request
from .servers import GENEROUS, SERVERS, Kind, Running, running
from .test_draining import ended, served, tell

KINDS = [kind for kind in SERVERS if kind.name in ("uvicorn-sansio", "holdfast", "holdfast-asgi")]


async def poll(server: Running, topic: str) -> list[dict[str, object]]:
    """Ask until there is an answer that had to wait, and return its messages."""
    state: dict[str, object] = {}
    for _ in range(2):
        path = f"/live/poll?{urlencode({'topic': topic, **state})}"
        headers = {"Cookie": server.users["ada"].cookie, "Connection": "close"}
        async with asyncio.timeout(SECONDS):
            response, writer = await request(server, "GET", path, headers)
            answer = json.loads(await response.body())
        writer.close()
        state = {"session": answer["session"], "ack": answer["ack"], "last-event-id": answer["last"]}
    messages: list[dict[str, object]] = answer["messages"]
    return messages


async def leave(server: Running) -> None:
    """Stop a server that has a stream and a poll, and expect a goodbye on both, at once."""
    async with EventStream(server, "rooms/leaving") as stream:
        await stream.of_type("joined")
        polling = asyncio.create_task(poll(server, "rooms/leaving"))
        await asyncio.sleep(0)
        while server.state()["connections"] < 2:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # its second request is on the way
        began = time.monotonic()
        tell(server, signal.SIGTERM)
        goodbye = await stream.of_type("goodbye")
        assert goodbye["payload"]["code"] == "draining"
        assert stream.reader.retry == round(goodbye["payload"]["after"] * 1000)
        assert [message["type"] for message in await polling] == ["goodbye"]
        assert await ended(server, 10) is not None
        assert time.monotonic() - began < 8, "the poll would have waited for 25 seconds"


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
async def test_a_server_that_stops_says_goodbye_to_streams_and_polls(
    kind: Kind, pool: Pool, tmp_path: Path
) -> None:
    with running(kind, pool.prepared, tmp_path, holdfast=GENEROUS) as server:
        await leave(server)


@pytest.mark.parametrize("adopts", ["yes", "no"])
async def test_serve_says_goodbye_to_streams_and_polls(adopts: str, pool: Pool, tmp_path: Path) -> None:
    with served(pool, tmp_path, drain=1, LIVE_ADOPTION=adopts) as server:
        await leave(server)
