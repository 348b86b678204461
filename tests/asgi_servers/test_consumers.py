"""Channels consumers beside topics, with the short and the explicit form of the application."""

import asyncio
import json
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from holdfast.protocol import codes

from .client import Live
from .servers import Running


async def _says_and_hears(server: Running) -> None:
    async with Live(server, path="ws/echo/", subprotocols=()) as echo:
        assert await echo.socket.recv() == "hello ada"
        for said in ("hi", "🦑", b"\x00\xff"):
            await echo.send_raw(said)
            assert await echo.socket.recv() == said
        await echo.send_raw("close")
        assert (await echo.closed())[0] == 4242


async def test_a_sync_consumer_works_as_always(server: Running) -> None:
    await _says_and_hears(server)


async def test_an_async_consumer_with_a_group_works_as_always(server: Running) -> None:
    path = f"ws/chat/c{uuid4().hex[:12]}/"
    async with (
        Live(server, path=path, subprotocols=()) as ada,
        Live(server, path=path, subprotocols=()) as grace,
    ):
        await ada.send(text="hi")

        assert await ada.receive() == await grace.receive() == {"text": "hi"}


async def test_consumers_are_held_to_the_same_origins(server: Running) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with Live(server, path="ws/echo/", subprotocols=(), origin="https://evil.example"):
            pass

    assert refusal.value.response.status_code == 403


async def test_a_consumer_reaches_a_topic_by_its_group(server: Running) -> None:
    room = f"r{uuid4().hex[:12]}"
    async with Live(server) as live, Live(server, path=f"ws/bridge/{room}/", subprotocols=()) as bridge:
        await live.join(f"rooms/{room}")
        await bridge.send_raw("over the bridge")
        assert await bridge.socket.recv() == "sent"
        event = await live.event()

    assert event["payload"] == {"id": 0, "text": "over the bridge"}
    assert "offset" not in event


async def test_group_send_of_a_view_reaches_a_topic_if_the_topic_declares_it(server: Running) -> None:
    room = f"r{uuid4().hex[:12]}"
    async with Live(server) as live:
        await live.join(f"rooms/{room}")
        await asyncio.to_thread(server.get, f"group-send/{room}/?type=unheard.of&type=typing&type=said")

        assert (await live.receive())["payload"] == {"id": 7, "text": "by group_send"}


async def test_the_explicit_form_serves_topics_consumers_and_pages(explicit: Running) -> None:
    await _says_and_hears(explicit)
    async with Live(explicit) as live:
        assert (await live.hello())["payload"]["user"] == explicit.users["ada"].id
        await live.join("rooms/explicit")
        await asyncio.to_thread(explicit.get, "say/explicit/")
        assert (await live.event())["offset"] == 1
    assert json.loads(explicit.get("sayings/explicit/")) == []


async def test_the_explicit_form_checks_origins(explicit: Running) -> None:
    async with Live(explicit, origin="https://evil.example") as live:
        assert (await live.closed())[0] == codes.ORIGIN_REFUSED.close
