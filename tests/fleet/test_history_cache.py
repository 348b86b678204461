"""History pages behind nginx with the cache that docs/how-to/history.md shows."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.asgi_servers.http import publish, request
from tests.asgi_servers.servers import GENEROUS, PUBLISHING_SECRETS, SERVERS, Prepared, Running, running, soon
from tests.services.nginx import Nginx, running_nginx

OURS = next(kind for kind in SERVERS if kind.name == "holdfast")
PAGE = Path(__file__).parents[2] / "docs/how-to/history.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    prepared = Prepared.make(tmp_path_factory.mktemp("prepared"))
    with running(OURS, prepared, tmp_path_factory.mktemp("serve"), holdfast=GENEROUS) as found:
        yield found


@pytest.fixture
def nginx(server: Running, tmp_path: Path) -> Iterator[Nginx]:
    above, inside = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)

    def adapt(text: str) -> str:
        text = text.replace("\nserver {", f"\n{above}\nserver {{").replace(
            "    location /live/ {", f"{inside}\n    location /live/ {{"
        )
        return text.replace("/var/cache/nginx/holdfast", str(tmp_path / "cache"))

    with running_nginx([f"127.0.0.1:{server.port}"], adapt=adapt) as found:
        yield found


async def tell(server: Running, topic: str, count: int) -> None:
    events: list[Any] = [
        {"topic": topic, "name": "said", "payload": {"id": number, "text": "hi"}} for number in range(count)
    ]
    assert (await publish(server, events, secret=PUBLISHING_SECRETS["shop"]))[0] == 202


class Reader:
    """A reader behind nginx."""

    def __init__(self, server: Running, nginx: Nginx, topic: str) -> None:
        self._front = Running(kind=server.kind, port=nginx.port, process=nginx.server, users={})
        self._nginx = nginx
        self._topic = topic

    async def get(self, upto: str | None = None, **headers: str) -> tuple[int, Any, bool]:
        """Return the status, the answer, and whether nginx asked the server."""
        path = f"/live/history?topic={self._topic}{f'&upto={upto}' if upto else ''}"
        before = len(self._nginx.requests())
        response, writer = await request(self._front, "GET", path, {"Connection": "close", **headers})
        body = await response.body()
        writer.close()
        # nginx logs a request after the client has the answer.
        assert await asyncio.to_thread(soon, lambda: len(self._nginx.requests()) > before)
        (_, servers, _, _) = self._nginx.requests()[-1]
        return response.status, json.loads(body) if body.startswith(b"{") else None, servers != ["-"]


@pytest.fixture
def reader(server: Running, nginx: Nginx) -> Reader:
    return Reader(server, nginx, f"news/n{uuid4().hex[:12]}")


async def test_a_full_page_reaches_the_server_once(server: Running, reader: Reader) -> None:
    await tell(server, reader._topic, 101)
    _, latest, _ = await reader.get()
    status, page, asked = await reader.get(latest["previous"])
    assert (status, asked, len(page["events"])) == (200, True, 100)
    for headers in ({}, {"Origin": "https://elsewhere.example"}, {"Cookie": "sessionid=x"}):
        assert await reader.get(latest["previous"], **headers) == (200, page, False)


async def test_readers_that_come_together_cost_one_request(server: Running, reader: Reader) -> None:
    await tell(server, reader._topic, 101)
    _, latest, _ = await reader.get()
    before = len(reader._nginx.requests())
    await asyncio.gather(*[reader.get(latest["previous"]) for _ in range(20)])
    requests = reader._nginx.requests()[before:]
    assert len([servers for _, servers, _, _ in requests if servers != ["-"]]) == 1


async def test_a_page_that_fills_up_is_not_kept_before_it_is_full(server: Running, reader: Reader) -> None:
    await tell(server, reader._topic, 99)
    _, latest, _ = await reader.get()
    assert len(latest["events"]) == 99
    epoch = latest["position"].partition(":")[0]
    assert (await reader.get(f"{epoch}:100"))[0] == 404
    await tell(server, reader._topic, 6)
    status, _, asked = await reader.get(f"{epoch}:100")
    assert (status, asked) == (307, True), "the 404 was not kept"
    async with asyncio.timeout(10):
        while latest["previous"] is None:
            await asyncio.sleep(0.1)
            _, latest, _ = await reader.get()
    _, page, _ = await reader.get(latest["previous"])
    assert [event["offset"] for event in page["events"] + latest["events"]] == list(range(1, 106))
