"""A client's subscription to one topic, over each transport: WebSocket, event stream and long polling.

::

    async with LISTENERS["polling"](server, "rooms/lobby", user="ada") as listener:
        assert (await listener.of_type("joined", "error"))["type"] == "joined"
"""

import asyncio
import json
from collections import deque
from contextlib import AsyncExitStack
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urlencode

from tests.asgi_servers.client import Live
from tests.asgi_servers.http import EventStream, Message, request
from tests.asgi_servers.servers import Running

SECONDS = 10.0


class Listener:
    """One subscription. ``user`` is one of ``server.users``, or ``None`` for an anonymous client."""

    path: ClassVar[str]
    """The endpoint, with a parameter for the topic if the request names it."""

    def __init__(self, server: Running, topic: str, *, user: str | None) -> None:
        self._server = server
        self._topic = topic
        self._user = user
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open(self) -> None:
        raise NotImplementedError

    async def receive(self) -> Message:
        """Return the next message."""
        raise NotImplementedError

    async def end(self) -> None:
        """Wait for the end of the connection. No message may come before it."""
        raise NotImplementedError

    async def of_type(self, *kinds: str) -> Message:
        """Return the next message of one of these types, and skip others."""
        async with asyncio.timeout(SECONDS):
            while (message := await self.receive())["type"] not in kinds:
                pass
        return message

    async def answer(self) -> Message:
        """Return the answer to the join."""
        return await self.of_type("joined", "error")


class SocketListener(Listener):
    path = "/live/ws"

    async def open(self) -> None:
        self._live = await self._stack.enter_async_context(Live(self._server, user=self._user))
        await self._live.hello()
        await self._live.send(type="join", ref=1, topic=self._topic)

    async def receive(self) -> Message:
        return await self._live.receive()

    async def end(self) -> None:
        code, _ = await self._live.closed()
        assert 4400 <= code < 4500, code


class StreamListener(Listener):
    path = "/live/sse"

    async def open(self) -> None:
        stream = EventStream(self._server, self._topic, user=self._user)
        self._stream = await self._stack.enter_async_context(stream)
        assert self._stream.response.status == 200

    async def receive(self) -> Message:
        return await self._stream.receive()

    async def end(self) -> None:
        async with asyncio.timeout(SECONDS):
            assert await self._stream.response.body() == b""


class PollingListener(Listener):
    path = "/live/poll"

    async def open(self) -> None:
        self._messages: deque[Message] = deque()
        self._state: dict[str, str] = {}

    async def receive(self) -> Message:
        while not self._messages:
            status, answer = await self._ask()
            assert status == 200, answer
            self._state = {
                "session": answer["session"],
                "ack": str(answer["ack"]),
                "last-event-id": answer["last"],
            }
            self._messages.extend(answer["messages"])
        return self._messages.popleft()

    async def end(self) -> None:
        """Expect that the session is of no further use: the next answer begins a connection."""
        assert not self._messages
        session = self._state["session"]
        async with asyncio.timeout(SECONDS):
            _, answer = await self._ask()
        assert answer["session"] != session

    async def _ask(self) -> tuple[int, Message]:
        path = f"{self.path}?{urlencode({'topic': self._topic} | self._state)}"
        headers = {"Connection": "close"}
        if self._user:
            headers["Cookie"] = self._server.users[self._user].cookie
        response, writer = await request(self._server, "GET", path, headers)
        try:
            body = await response.body()
        finally:
            writer.close()
        message: Message = json.loads(body) if response.status == 200 else {"body": body}
        return response.status, message


LISTENERS: dict[str, type[Listener]] = {
    "websocket": SocketListener,
    "stream": StreamListener,
    "polling": PollingListener,
}
