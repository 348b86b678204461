"""Uvicorn's HTTP protocol class, as this package has it, on a transport in memory."""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from holdfast.server import HttpProtocol

from .wire import App, Wire, settle


class HttpPeer:
    """A client that sends bytes, and the server's end of the wire. ``body`` is what came after the head."""

    def __init__(
        self, app: App, *, wire: Wire | None = None, kind: type[HttpProtocol] = HttpProtocol, **config: Any
    ) -> None:
        config.setdefault("ws", "websockets-sansio")  # the default imports what websockets has deprecated
        self.config = Config(app, http=HttpProtocol, lifespan="off", log_config=None, **config)
        self.config.load()
        self.state = ServerState()
        self.wire = wire or Wire(strict=False)
        self.server: HttpProtocol | None = kind(
            config=self.config,
            server_state=self.state,
            app_state={},
            _loop=asyncio.get_running_loop(),
        )
        self.wire.set_protocol(self.server)
        self.server.connection_made(self.wire)
        self.raw = b""

    async def ask(
        self, target: str = "/", *, version: str = "1.1", headers: dict[str, str] | None = None
    ) -> None:
        fields = {"Host": "harbor.example", **(headers or {})}
        lines = [f"GET {target} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
        self.receive("\r\n".join([*lines, "", ""]).encode())
        await self.settle()

    def receive(self, data: bytes) -> None:
        self.wire.get_protocol().data_received(data)

    async def settle(self) -> None:
        await settle()
        if not self.wire.stuck:
            self.read()

    def read(self) -> None:
        self.raw += bytes(self.wire.sent)
        self.wire.sent = bytearray()

    @property
    def head(self) -> list[str]:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")

    @property
    def status(self) -> int:
        return int(self.head[0].split()[1])

    @property
    def headers(self) -> dict[bytes, bytes]:
        fields = (line.encode("latin-1").partition(b":") for line in self.head[1:])
        return {name.lower(): value.strip() for name, _, value in fields}

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]
