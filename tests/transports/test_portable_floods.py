"""Bounds that hold on an ASGI server that is not Holdfast's."""

import asyncio
import logging
from typing import Any

import pytest

from holdfast.protocol.codec import JSON
from holdfast.protocol.limits import Limits
from tests.support.clock import in_jumping_time
from tests.support.connected import fleet

from .carriers import AsgiServer


@in_jumping_time
async def test_a_message_that_the_server_should_not_have_stored_is_answered_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fleet() as here:
        client = await AsgiServer.open(here.processes[0].service, codec=JSON)
        await client.hear()
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await client.send("x" * ((1 << 20) + 1))
        answers = await client.hear()

    assert [answer["payload"]["code"] for answer in answers] == ["too_large"] * 3
    (line,) = [line for line in caplog.messages if "passed on a message" in line]
    assert "--ws-max-size" in line
    assert "--ws-per-message-deflate false" in line


class ParsesOn(AsgiServer):
    """A server that does not report the end of a connection that the application has closed: it goes on reading."""

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self._closed = message["code"], message["reason"]
        else:
            await super()._send(message)


@in_jumping_time
async def test_the_application_of_a_client_that_floods_ends_within_a_second() -> None:
    async with fleet(limits=Limits(burst=10)) as here:
        client: Any = await ParsesOn.open(here.processes[0].service, codec=JSON)
        for _ in range(200):
            client._events.put_nowait({"type": "websocket.receive", "text": '{"type":"nothing"}'})
        for _ in range(10):  # the server reads nothing for a while, several times
            await asyncio.sleep(1)
            await client.settle()
            if client.closed:
                break
        assert client.closed[0] == 4029

        began = asyncio.get_running_loop().time()
        await asyncio.wait([client._task])
        assert asyncio.get_running_loop().time() - began < 1.5
