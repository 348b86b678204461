"""The browser client in a Node process, driven from Python."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.services.processes import find_program

DRIVER = Path(__file__).with_name("node_driver.mjs")

END_SECONDS = 10.0
"""Seconds in which the process ends by itself after its last client was closed. A remaining timer or socket keeps it."""


class NodeClients:
    """Clients in one Node process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._inboxes: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())
        self._count = 0

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            self._inboxes[message["id"]].put_nowait(message)
        for inbox in self._inboxes.values():
            inbox.put_nowait({"error": "the Node process has ended"})

    def start(self, **schedule: Any) -> asyncio.Queue[dict[str, Any]]:
        """Start a client. Return the queue of what it says."""
        self._count += 1
        inbox = self._inboxes[self._count] = asyncio.Queue()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._count, **schedule}).encode() + b"\n")
        return inbox

    async def end(self) -> None:
        """Wait until the process ends by itself. Raises ``AssertionError`` if something keeps it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = await asyncio.wait_for(self._process.wait(), END_SECONDS)
        except TimeoutError:
            raise AssertionError("a timer or a socket keeps the Node process after its clients have closed") from None
        assert status == 0, f"Node ended with status {status}"
        await self._reading


async def said(inbox: asyncio.Queue[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the next thing that a client says."""
    message = await asyncio.wait_for(inbox.get(), seconds)
    assert "error" not in message, message["error"]
    return message


@contextlib.asynccontextmanager
async def node_clients() -> AsyncIterator[NodeClients]:
    process = await asyncio.create_subprocess_exec(
        find_program("node", package="nodejs"), "--experimental-websocket", "--disable-warning=ExperimentalWarning", str(DRIVER),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    clients = NodeClients(process)
    try:
        yield clients
        await clients.end()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        clients._reading.cancel()
