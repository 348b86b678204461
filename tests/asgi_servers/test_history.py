"""History pages, on each ASGI server."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from .client import Live
from .http import Message, Response, publish, request
from .servers import PUBLISHING_SECRETS, Running


@pytest.fixture
def topic() -> str:
    return f"news/n{uuid4().hex[:12]}"


async def fetch(server: Running, query: str, method: str = "GET") -> tuple[Response, bytes]:
    async with asyncio.timeout(10):
        response, writer = await request(server, method, f"/live/history?{query}", {"Connection": "close"})
        body = b"" if method == "HEAD" else await response.body()
    writer.close()
    return response, body


async def told(server: Running, topic: str, count: int, size: int = 5) -> None:
    events: list[Message] = [
        {"topic": topic, "name": "said", "payload": {"id": number, "text": "x" * size}}
        for number in range(count)
    ]
    status, _ = await publish(server, events, secret=PUBLISHING_SECRETS["shop"])
    assert status == 202


async def test_a_reader_finds_what_a_subscriber_has_heard(server: Running, topic: str) -> None:
    async with Live(server, user=None) as live:
        await live.join(topic)
        await told(server, topic, 3)
        heard = [await live.event() for _ in range(3)]
    response, body = await fetch(server, f"topic={topic}")
    assert (response.status, response.headers["cache-control"]) == (200, "public, max-age=1")
    assert json.loads(body)["events"] == heard
    head, _ = await fetch(server, f"topic={topic}", "HEAD")
    assert (head.status, head.headers["etag"]) == (200, response.headers["etag"])


async def test_a_page_of_large_events_arrives_whole(server: Running, topic: str) -> None:
    await told(server, topic, 101, size=20_000)
    _, body = await fetch(server, f"topic={topic}")
    latest: Any = json.loads(body)
    response, body = await fetch(server, f"topic={topic}&upto={latest['previous']}")
    page = json.loads(body)
    assert response.headers["cache-control"].endswith("immutable")
    assert [event["offset"] for event in page["events"]] == list(range(1, 101))
    assert [len(event["payload"]["text"]) for event in page["events"]] == [20_000] * 100
