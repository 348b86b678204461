"""Applications for the real server, by the first part of their path."""

import asyncio
import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer

ACCEPT = {"type": "websocket.accept"}

#: What the applications have seen, by path.
seen: dict[str, list[Any]] = {}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {**ACCEPT, "subprotocol": next(iter(scope["subprotocols"]), None), "headers": [(b"x-echo", b"1")]}
    )
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})
    seen.setdefault(scope["path"], []).append(event)


async def close(scope: Any, receive: Any, send: Any) -> None:
    await send(ACCEPT)
    code, reason = int(scope["path"].rpartition("/")[2]), "as asked"
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.close"})


async def deny(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"who are you?")]}
    )
    for part in (b"sign ", b"in ", b"first"):
        await send({"type": "websocket.http.response.body", "body": part, "more_body": part != b"first"})


async def fail(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].endswith("after"):
        await send(ACCEPT)
    raise RuntimeError("as asked")


async def leave(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].endswith("after"):
        await send(ACCEPT)


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Sends its scope, and closes."""
    await send(ACCEPT)
    shown = {key: scope[key] for key in ("scheme", "client", "root_path", "path", "query_string")}
    await send({"type": "websocket.send", "text": json.dumps(shown, default=lambda data: data.decode())})
    await send({"type": "websocket.close"})


async def flood(scope: Any, receive: Any, send: Any) -> None:
    """Sends 64 KB again and again, and counts."""
    await send(ACCEPT)
    counted = seen[scope["path"]] = [0]
    for _ in range(2000):
        await send({"type": "websocket.send", "bytes": bytes(65536)})
        counted[0] += 1
    counted.append("done")


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """Receives nothing until a signal, then counts bytes."""
    go_on, counted = asyncio.Event(), [0]
    await receive()
    await send(ACCEPT)
    seen[scope["path"]] = [(asyncio.get_running_loop(), go_on), counted]
    await go_on.wait()
    while (event := await receive())["type"] == "websocket.receive":
        counted[0] += len(event["bytes"])


class Async(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        await self.accept(self.scope["subprotocols"][0])
        await self.send(text_data="welcome")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "close":
            await self.close(4001, "as asked")
        else:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code: int) -> None:
        seen.setdefault(self.scope["path"], []).append(code)


class Sync(WebsocketConsumer):  # type: ignore[misc]
    def connect(self) -> None:
        if "refuse" in self.scope["path"]:
            self.close()
            return
        self.accept()
        self.send(text_data="welcome")

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(text_data=text_data, bytes_data=bytes_data)

    def disconnect(self, code: int) -> None:
        seen.setdefault(self.scope["path"], []).append(code)


APPS: dict[str, Any] = {
    **{app.__name__: app for app in (echo, close, refuse, deny, fail, leave, tell, flood, deaf)},
    "async": Async.as_asgi(),
    "sync": Sync.as_asgi(),
}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await APPS[scope["path"].removeprefix(scope["root_path"]).split("/")[1]](scope, receive, send)
