"""Full-duplex connection to Redis: written to and read from at the same time.

redis-py makes the connection (TLS, password, database, the primary that sentinels name) and reads from it, with hiredis.
But its clients answer one command after the other. Here a task reads all replies as they arrive. So a broken connection
is noticed at once, a message of a subscription costs little, and commands are written without waiting for answers.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

TURN = 200
"""Replies that are handled before the event loop may do something else."""

Reply = Any
"""Bytes, an int, a list of these, or the ``ResponseError`` with which Redis refused a command."""


def pack(*command: bytes) -> bytes:
    """Return a command in the form that Redis reads."""
    words: Any = command  # hiredis' types know commands of one word only
    packed: bytes = hiredis.pack_command(words)
    return packed


class RedisConnection:
    """Reads from and writes to ``connection``, which is connected already.

    ``receive`` gets every reply, in order. ``ended`` is called once, with a reason, when the connection broke or was
    closed. Neither may raise. The object belongs to the event loop on which it is made.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        *,
        receive: Callable[[Reply], None],
        ended: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self.replies = 0
        self.open = True
        self._receive, self._ended = receive, ended
        self._outgoing: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        # Silence is no error here: the owner of the connection sends a PING, and knows how long to wait.
        connection.socket_timeout = None
        self._writer = connection._writer  # redis-py forgets the writer when it closes it, and does not wait
        self._reading = asyncio.create_task(self._read())

    def write(self, data: bytes) -> None:
        """Write packed commands soon. Those of one turn of the event loop go out together."""
        self._outgoing.append(data)
        if self._writing is None and self.open:
            self._writing = asyncio.create_task(self._write())

    def close(self, reason: str = "closed") -> None:
        """Close the connection without waiting."""
        if self.open:
            self.open = False
            self._reading.cancel()
            if self._writing is not None:
                self._writing.cancel()
            self._ended(reason)

    async def closed(self) -> None:
        """Return when the tasks have ended and the socket is closed."""
        await asyncio.wait([task for task in (self._reading, self._writing) if task is not None])
        await self.connection.disconnect(nowait=True)  # in case it was closed before it was read
        if self._writer is not None:
            self._writer.transport.abort()  # the other end of a TLS connection may take its time to say goodbye
            with contextlib.suppress(Exception):  # how it broke
                await self._writer.wait_closed()

    async def _write(self) -> None:
        try:
            while self._outgoing:
                data, self._outgoing = b"".join(self._outgoing), []
                await self.connection.send_packed_command(data, check_health=False)
        except Exception as error:  # noqa: BLE001 - whatever redis-py and the system raise
            self.close(f"{type(error).__name__}: {error}")
        finally:
            self._writing = None

    async def _read(self) -> None:
        read = self.connection.read_response
        try:
            while True:
                for _ in range(TURN):
                    try:
                        reply = await read(disable_decoding=True, disconnect_on_error=False)
                    except ResponseError as error:
                        reply = error
                    self.replies += 1
                    self._receive(reply)
                await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 - whatever redis-py and the system raise
            self.close(f"{type(error).__name__}: {error}")
        finally:
            await self.connection.disconnect(nowait=True)
