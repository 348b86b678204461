"""The browser client in a Node process, driven from Python."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.services.processes import find_program

DRIVER = Path(__file__).with_name("node_driver.mjs")

END_SECONDS = 10.0
"""Seconds in which the process ends by itself after its last client was closed. A remaining timer or socket keeps it."""


def node_command(script: Path, *arguments: Path) -> list[str | Path]:
    """Return the command that runs a script in Node, with the WebSocket that later versions have by themselves."""
    node = find_program("node", package="nodejs")
    return [node, "--experimental-websocket", "--disable-warning=ExperimentalWarning", script, *arguments]


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

    @contextlib.contextmanager
    def playing(self, **schedule: Any) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Run a client. Gives the queue of what it says. At the end of the block the client is closed, whatever it was doing."""
        self._count += 1
        number = self._count
        inbox = self._inboxes[number] = asyncio.Queue()
        self._write({"id": number, **schedule})
        try:
            yield inbox
        finally:
            self._write({"end": number})

    def _write(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def end(self) -> None:
        """Wait until the process ends by itself. Raises ``AssertionError`` if something keeps it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = await asyncio.wait_for(self._process.wait(), END_SECONDS)
        except TimeoutError:
            raise AssertionError(
                "a timer or a socket keeps the Node process after its clients have closed"
            ) from None
        assert status == 0, f"Node ended with status {status}"
        await self._reading


async def said(inbox: asyncio.Queue[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the next thing that a client says."""
    try:
        message = await asyncio.wait_for(inbox.get(), seconds)
    except TimeoutError:
        raise AssertionError(f"the client said nothing for {seconds} s") from None
    assert "error" not in message, message["error"]
    return message


@contextlib.asynccontextmanager
async def node_clients() -> AsyncIterator[NodeClients]:
    process = await asyncio.create_subprocess_exec(
        *node_command(DRIVER),
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
