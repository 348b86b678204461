"""A user's connection to one server of a fleet, for tests that look at single users instead of a crowd."""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.typing import Subprotocol


@contextlib.asynccontextmanager
async def joined(port: int, user: int, topic: str) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    """Yield ``user-N``, signed in, connected and joined, and the payload of ``joined``."""
    cookie = await asyncio.to_thread(sign_in, port, f"user-{user}")
    async with joined_by(port, cookie, topic) as found:
        yield found


@contextlib.asynccontextmanager
async def joined_by(
    port: int, cookie: str, topic: str
) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    """Do the same with the session of this cookie."""
    async with connect(
        f"ws://127.0.0.1:{port}/live/ws",
        subprotocols=[Subprotocol("holdfast.v1.json")],
        additional_headers={"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"},
        ping_interval=None,  # the test waits for a server that is stopped for a while
    ) as socket:
        await socket.send(json.dumps({"type": "join", "ref": 1, "topic": topic}))
        while (message := json.loads(await socket.recv()))["type"] != "joined":
            assert message["type"] == "welcome", message
        yield socket, message["payload"]


def sign_in(port: int, name: str) -> str:
    """The cookie of a new session."""
    url = f"http://127.0.0.1:{port}/login/?user={name}&client={name}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        cookies = answer.headers.get_all("Set-Cookie")
        return next(str(one).partition(";")[0] for one in cookies if one.startswith("sessionid="))


class Visitor:
    """A client that keeps the list of a topic's members as the protocol says, and all members that ever joined or left."""

    def __init__(self, socket: ClientConnection, members: list[dict[str, Any]]) -> None:
        self._socket = socket
        self.sees = _ids(members)
        self.came: list[str] = []
        self.left: list[str] = []
        self._changed = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, port: int, user: int, topic: str) -> AsyncIterator["Visitor"]:
        async with joined(port, user, topic) as (socket, payload):
            visitor = cls(socket, payload["members"])
            reading = asyncio.create_task(visitor._read())
            try:
                yield visitor
            finally:
                reading.cancel()

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = json.loads(await self._socket.recv())
                if message["type"] == "presence":
                    self._hear(message["payload"])

    def _hear(self, payload: dict[str, Any]) -> None:
        before, members = self.sees, payload.get("members")
        joined, left = _ids(payload.get("joined") or []), {str(one) for one in payload.get("left") or []}
        self.sees = (before - left) | joined if members is None else _ids(members)
        self.came += sorted(self.sees - before)
        self.left += sorted(before - self.sees)
        self._changed.set()

    async def wait_for(self, members: set[str], *, seconds: float) -> None:
        """Wait until exactly these members are on the list."""
        try:
            async with asyncio.timeout(seconds):
                while self.sees != members:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"expected {sorted(members)}, but after {seconds:g} s sees {sorted(self.sees)}"
            ) from None

    async def leave(self) -> None:
        """Close the connection."""
        await self._socket.close()

    def vanish(self) -> None:
        """End the connection without a word to the server, which may be standing still."""
        self._socket.transport.abort()

    @property
    def has_ended(self) -> bool:
        return self._socket.state is State.CLOSED

    async def ended(self, *, seconds: float) -> None:
        """Wait until either side has ended the connection."""
        async with asyncio.timeout(seconds):
            await self._socket.wait_closed()


def _ids(members: list[dict[str, Any]]) -> set[str]:
    return {str(member["id"]) for member in members}
