"""An event changes in two deploys, as the how-to says: on two servers, with PostgreSQL and Redis, under clients of both versions."""

import asyncio
import contextlib
import urllib.request
from typing import Any

import pytest

from holdfast.client import RemoteEvent, RemoteTopic, connect
from tests.services.processes import Server, free_port

from .publishing.place import Place

BOARD = "boards/news"
BEFORE, AFTER = "", "?versions=message.posted:2"
"""The query of a client that was written for version 1 of the event, and of one that was written for version 2."""
SECONDS = 40.0


class Berth:
    """A port that one release after the other serves."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._name, self._port = place, name, free_port()
        self._server: Server | None = None

    def url(self, query: str = "") -> str:
        return f"ws://127.0.0.1:{self._port}/live/ws{query}"

    def serve(self, release: str) -> None:
        """End the release that is there, and start this one."""
        self.stop()
        self._place.environment["DJANGO_SETTINGS_MODULE"] = "tests.fleet.releases.settings"
        self._place.environment["FLEET_RELEASE"] = release
        command = ["-m", "django", "holdfast", "serve", "--port", str(self._port)]
        self._server = self._place.start(f"{self._name}-{release}", *command)
        self._server.wait_until(self._is_ready, seconds=SECONDS)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(seconds=SECONDS)
            assert "Traceback" not in self._server.output(last=1_000_000), self._server.output()

    def _is_ready(self) -> bool:
        ready = f"http://127.0.0.1:{self._port}/live/ready"
        with contextlib.suppress(OSError), urllib.request.urlopen(ready, timeout=5) as answer:
            return bool(answer.status == 200)
        return False


class Reader:
    """A client that stays connected through the deploys, and what it has received."""

    def __init__(self, topic: RemoteTopic) -> None:
        self.topic = topic
        self.received: list[Any] = []

    async def reads(self, text: str) -> Any:
        """Wait for the message with this text; return its author as this client understands it."""
        async with asyncio.timeout(SECONDS):
            async for event in self.topic:
                assert isinstance(event, RemoteEvent), event
                assert event.name == "message.posted"
                self.received.append(event.payload)
                if event.payload["text"] == text:
                    return event.payload["author"]
        raise AssertionError(f"{text} did not come, but {self.received}")


async def reader(stack: contextlib.AsyncExitStack, url: str, *, since: str | None = None) -> Reader:
    live = await stack.enter_async_context(connect(url))
    return Reader(await live.join(BOARD, since=since))


@pytest.mark.timeout(240)
async def test_clients_of_both_versions_get_every_event_through_both_deploys(place: Place) -> None:
    one, two = Berth(place, "one"), Berth(place, "two")
    async with contextlib.AsyncExitStack() as stack:
        for berth in (one, two):
            stack.callback(berth.stop)
            berth.serve("one")
        old = [await reader(stack, berth.url(BEFORE)) for berth in (one, two)]

        async def posted(by: Reader, text: str, *, new: list[Reader]) -> None:
            await by.topic.call("post", text=text, author="ada")
            assert [await each.reads(text) for each in old] == ["ada", "ada"]
            assert [await each.reads(text) for each in new] == [{"name": "ada"}] * len(new)

        start = str(old[0].topic.position)
        await posted(old[0], "before the deploys", new=[])

        two.serve("two")  # the first deploy: one server has the release before
        new = [await reader(stack, two.url(AFTER), since=start)]
        assert await new[0].reads("before the deploys") == {"name": "ada"}
        await posted(old[0], "from the release before", new=new)
        await posted(new[0], "from the release that knows both", new=new)

        one.serve("two")
        two.serve("three")  # the second deploy: one server still publishes version 1
        new += [await reader(stack, one.url(AFTER))]
        await posted(new[0], "in the new version", new=new)
        await posted(new[1], "still in the old version", new=new)
        one.serve("three")
        await posted(old[1], "after the deploys", new=new)

        texts = [payload["text"] for payload in old[0].received]
        assert texts == [
            "before the deploys",
            "from the release before",
            "from the release that knows both",
            "in the new version",
            "still in the old version",
            "after the deploys",
        ]
        assert [payload["text"] for payload in old[1].received] == texts
        assert [payload["text"] for payload in new[0].received] == texts
        late = [await reader(stack, one.url(query), since=start) for query in (BEFORE, AFTER)]
        assert [await each.reads("after the deploys") for each in late] == ["ada", {"name": "ada"}]
        assert late[0].received == old[0].received
        assert late[1].received == new[0].received
