"""One story over each way to listen, on each server: live events, a call, and the events missed while away, in order and once."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from holdfast.client import RemoteEvent, connect

from . import ways
from .client import Live
from .http import EventStream, Message, call, publish, request
from .servers import PUBLISHING_SECRETS, SERVERS, Running
from .ways import NAMES, WAYS, Way

SECONDS = 15.0
CLIENT = Path(__file__).parents[2] / "src/holdfast/static/holdfast/holdfast.js"
DRIVER = Path(__file__).with_name("browser_client.mjs")


@dataclass(kw_only=True)
class Listener:
    """A subscription of one topic. ``event`` returns offset and text of the next event, ``say`` calls the action and returns its
    result. ``place`` is from where another listener goes on."""

    event: Callable[[], Any]
    say: Callable[[str], Any]
    place: Callable[[], Any]


Opened = Callable[[Running, str, Any], AbstractAsyncContextManager[Listener]]


def _of(message: Message) -> tuple[int, str]:
    return message["offset"], message["payload"]["text"]


@contextlib.asynccontextmanager
async def plain_socket(server: Running, topic: str, place: Any) -> AsyncIterator[Listener]:
    async with Live(server) as live:
        joined = (await live.join(topic, since=place))["payload"]
        assert place is None or joined["recovered"]
        at = {"epoch": joined["epoch"], "offset": joined["offset"]}

        async def event() -> tuple[int, str]:
            message = await live.event()
            at.update(offset=message["offset"], stamp=message["stamp"])
            return _of(message)

        async def say(text: str) -> Any:
            return (await live.call(topic, "say", text=text))["payload"]

        yield Listener(event=event, say=say, place=lambda: dict(at))


@contextlib.asynccontextmanager
async def python_socket(server: Running, topic: str, place: Any) -> AsyncIterator[Listener]:
    headers = {"Cookie": server.users["ada"].cookie}
    async with connect(server.live, headers=headers, origin=server.origin) as live:
        joined = await live.join(topic, since=place)
        events = aiter(joined)
        at = str(joined.position)

        async def event() -> tuple[int, str]:
            nonlocal at
            found = await anext(events)
            assert isinstance(found, RemoteEvent)
            assert found.position is not None
            at = str(found.position)
            return found.position.offset, found.payload["text"]

        yield Listener(event=event, say=lambda text: joined.call("say", text=text), place=lambda: at)


@contextlib.asynccontextmanager
async def browser_client(
    server: Running, topic: str, place: Any, *, transport: str
) -> AsyncIterator[Listener]:
    node = shutil.which("node")
    assert node is not None, "Node is missing; the tests of the browser client need it"
    given = [] if place is None else [json.dumps(place)]
    process = await asyncio.create_subprocess_exec(
        node,
        "--experimental-websocket",
        "--no-warnings",
        DRIVER,
        CLIENT,
        server.live,
        transport,
        topic,
        *given,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines, results, heard = process.stdout, asyncio.Queue[Any](), asyncio.Queue[Message]()
    place = None

    async def read() -> None:
        nonlocal place
        async for line in lines:
            message = json.loads(line)
            place = message.get("position", place)
            await (heard if "payload" in message else results).put(message)

    reading = asyncio.create_task(read())
    try:
        joined = await results.get()
        assert not given or joined["recovered"]

        async def event() -> tuple[int, str]:
            return _of(await heard.get())

        async def say(text: str) -> Any:
            assert process.stdin is not None
            process.stdin.write(f"{text}\n".encode())
            return (await results.get())["result"]

        yield Listener(event=event, say=say, place=lambda: place)
    finally:
        process.stdin.close()
        async with asyncio.timeout(SECONDS):
            await process.wait()
        await reading


async def post(server: Running, topic: str, text: str) -> Any:
    status, answer = await call(server, topic, "say", text=text)
    assert status == 200
    return answer["payload"]


@contextlib.asynccontextmanager
async def event_source(server: Running, topic: str, place: Any) -> AsyncIterator[Listener]:
    async with EventStream(server, topic, last_event_id=place or "") as stream:
        joined = await stream.of_type("joined")
        assert place is None or joined["payload"]["recovered"]

        async def event() -> tuple[int, str]:
            return _of(await stream.of_type("event"))

        yield Listener(
            event=event, say=lambda text: post(server, topic, text), place=lambda: stream.reader.last_id
        )


@contextlib.asynccontextmanager
async def plain_polling(server: Running, topic: str, place: Any) -> AsyncIterator[Listener]:
    state: dict[str, Any] = {} if place is None else {"last-event-id": place}
    waiting: list[Message] = []

    async def ask() -> None:
        path = f"/live/poll?{urlencode({'topic': topic, **state})}"
        headers = {"Cookie": server.users["ada"].cookie, "Connection": "close"}
        response, writer = await request(server, "GET", path, headers)
        answer = json.loads(await response.body())
        writer.close()
        state.update({"session": answer["session"], "ack": answer["ack"], "last-event-id": answer["last"]})
        waiting.extend(answer["messages"])

    async def event() -> tuple[int, str]:
        while not any(message["type"] == "event" for message in waiting):
            await ask()
        while waiting[0]["type"] != "event":
            waiting.pop(0)
        return _of(waiting.pop(0))

    await ask()
    joined = next(message for message in waiting if message["type"] == "joined")
    assert place is None or joined["payload"]["recovered"]
    yield Listener(
        event=event, say=lambda text: post(server, topic, text), place=lambda: state["last-event-id"]
    )


LISTENERS: dict[Way, Opened] = {
    ways.PLAIN_SOCKET: plain_socket,
    ways.BROWSER_SOCKET: partial(browser_client, transport="websocket"),
    ways.PYTHON_SOCKET: python_socket,
    ways.EVENT_SOURCE: event_source,
    ways.BROWSER_STREAM: partial(browser_client, transport="sse"),
    ways.PLAIN_POLLING: plain_polling,
    ways.BROWSER_POLLING: partial(browser_client, transport="polling"),
}


@pytest.mark.parametrize("way", LISTENERS, ids=str)
async def test_a_listener_hears_what_happens_and_what_it_missed(server: Running, way: Way) -> None:
    topic, opened = f"rooms/r{uuid4().hex[:12]}", LISTENERS[way]
    said = {"topic": topic, "name": "said"}

    async def publish_as_a_service(text: str) -> None:
        event = {**said, "payload": {"id": 1, "text": text}}
        assert (await publish(server, [event], secret=PUBLISHING_SECRETS["shop"]))[0] == 202

    async with asyncio.timeout(3 * SECONDS):
        async with opened(server, topic, None) as listener:
            await publish_as_a_service("live")
            assert await listener.event() == (1, "live")
            assert await listener.say("called") > 0
            assert await listener.event() == (2, "called")
            place = listener.place()
        for number in range(3, 6):
            await publish_as_a_service(f"missed {number}")
        async with opened(server, topic, place) as listener:
            for number in range(3, 6):
                assert await listener.event() == (number, f"missed {number}")
            await publish_as_a_service("live again")
            assert await listener.event() == (6, "live again")


def test_the_story_or_a_module_of_its_own_covers_each_way() -> None:
    assert {*LISTENERS, ways.HISTORY} == set(WAYS)  # test_history.py
    assert set(NAMES) == {kind.name for kind in SERVERS}
