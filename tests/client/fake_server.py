"""The other end of a client's WebSockets, controlled by a test."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.http11 import Response


class FakeSocket:
    """One attempt to connect, and the connection if it succeeds."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, message: str) -> None:
        if self.close_code is not None:
            raise ConnectionClosedError(None, None)
        self.sent.append(json.loads(message))

    async def __aiter__(self) -> AsyncIterator[str]:
        while (message := await self._messages.get()) is not None:
            yield message
        raise ConnectionClosedError(None, None)

    # ── the server's side ────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)

    @property
    def unread(self) -> int:
        """Messages that the client has not read."""
        return self._messages.qsize()

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        self.opened.set_exception(InvalidStatus(Response(status, "", Headers(headers))))

    def say_text(self, text: str) -> None:
        self._messages.put_nowait(text)

    def drop(self, code: int) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionRefusedError())
        self.close_code = code
        self._messages.put_nowait(None)


class FakeServer:
    """The server that a client under test connects to."""

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []

    @property
    def socket(self) -> FakeSocket:
        return self.sockets[-1]

    @contextlib.asynccontextmanager
    async def open_socket(self, url: str) -> AsyncIterator[FakeSocket]:
        socket = FakeSocket()
        self.sockets.append(socket)
        await socket.opened
        yield socket
