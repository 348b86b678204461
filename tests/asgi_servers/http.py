"""HTTP on real sockets: an event stream as a browser reads it, and calls by POST."""

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from tests.transports.event_stream import EventStreamReader

from .servers import Running

SECONDS = 10.0

CSRF = "c" * 32

Message = dict[str, Any]


class Response:
    """A response whose body may go on."""

    def __init__(self, status: int, headers: Mapping[str, str], reader: asyncio.StreamReader) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    async def chunk(self) -> bytes:
        """Return the next bytes of the body; none at its end."""
        if self.headers.get("transfer-encoding") != "chunked":
            return await self._reader.read(65536)
        size = int((await self._reader.readline()).split(b";")[0], 16)
        data = await self._reader.readexactly(size + 2)
        return data[:-2]

    async def body(self) -> bytes:
        if "content-length" in self.headers:
            return await self._reader.readexactly(int(self.headers["content-length"]))
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)


async def request(
    server: Running, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> tuple[Response, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {server.origin.removeprefix('http://')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")[:-2]
    found = dict(line.split(":", 1) for line in rest)
    return (
        Response(
            int(first.split()[1]), {name.lower(): value.strip() for name, value in found.items()}, reader
        ),
        writer,
    )


class EventStream:
    """An ``EventSource``, without its reconnections."""

    def __init__(
        self,
        server: Running,
        *topics: str,
        user: str | None = "ada",
        last_event_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._server = server
        self._path = f"/live/sse?{urlencode([('topic', topic) for topic in topics])}"
        self._headers = {"Accept": "text/event-stream", **(headers or {})}
        if user:
            self._headers["Cookie"] = server.users[user].cookie
        if last_event_id:
            self._headers["Last-Event-ID"] = last_event_id
        self.reader = EventStreamReader()
        self._read = 0

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(SECONDS):
            self.response, self._writer = await request(self._server, "GET", self._path, self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def receive(self) -> Message:
        """Return the next message."""
        async with asyncio.timeout(SECONDS):
            while self._read == len(self.reader.messages):
                data = await self.response.chunk()
                assert data, "the stream has ended"
                self.reader.feed(data)
        _, text = self.reader.messages[self._read]
        self._read += 1
        message: Message = json.loads(text)
        return message

    async def of_type(self, *kinds: str) -> Message:
        """Return the next message of one of these types, and skip others."""
        while True:
            message = await self.receive()
            if message["type"] in kinds:
                return message


async def call(
    server: Running,
    topic: str,
    name: str,
    *,
    user: str | None = "ada",
    csrf: bool = True,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
    **payload: Any,
) -> tuple[int, Message]:
    """Call an action by POST. Return the status and the answer."""
    sent = {
        "Content-Type": "application/json",
        "Origin": server.origin,
        "Connection": "close",
        **(headers or {}),
    }
    if user:
        sent["Cookie"] = f"{server.users[user].cookie}; csrftoken={CSRF}"
    if csrf:
        sent["X-CSRFToken"] = CSRF
    body: dict[str, Any] = {"topic": topic, "name": name, "payload": payload}
    if key is not None:
        body["key"] = key
    async with asyncio.timeout(SECONDS):
        response, writer = await request(server, "POST", "/live/call", sent, json.dumps(body).encode())
        answer = await response.body()
    writer.close()
    return response.status, json.loads(answer)


async def publish(
    server: Running,
    events: list[Message],
    *,
    key: str | None = None,
    secret: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, Message]:
    """Publish by POST. Return the status, and the answer if it is JSON."""
    sent = {"Connection": "close", **(headers or {})}
    if secret is not None:
        sent["Authorization"] = f"Bearer {secret}"
    if body is None:
        body = json.dumps({"events": events, **({"key": key} if key else {})}).encode()
    async with asyncio.timeout(SECONDS):
        response, writer = await request(server, "POST", "/live/publish", sent, body)
        answer = await response.body()
    writer.close()
    return response.status, json.loads(answer) if answer.startswith(b"{") else {}
