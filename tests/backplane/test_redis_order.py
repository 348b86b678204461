"""A Redis that refuses some of what it is sent, told by hand: what is sent again must not overtake, nor be overtaken."""

import asyncio
from collections.abc import AsyncIterator, Callable

import hiredis
import pytest_asyncio

from holdfast.backplane.envelope import has_gap, split
from holdfast.backplane.redis import RedisBackplane
from holdfast.redis.client import RedisStore

from .ends import Receiver


class Moody:
    """Says yes to everything; but to each message what ``answer`` says of its number."""

    def __init__(self) -> None:
        self.port = 0
        self.answer: Callable[[int], bytes] = lambda number: b":1\r\n"
        self.published: list[tuple[bool, bytes]] = []
        """Whether it was refused, and the envelope."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(65536):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                writer.write(self._reply(command))
        writer.close()

    def _reply(self, command: list[bytes]) -> bytes:
        if command[0] != b"PUBLISH":
            return b"+OK\r\n"
        answer = self.answer(len(self.published))
        self.published.append((answer.startswith(b"-"), command[2]))
        return answer


@pytest_asyncio.fixture
async def moody() -> AsyncIterator[Moody]:
    made = Moody()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


async def test_a_refused_message_does_not_come_after_its_successors(moody: Moody) -> None:
    """As by a script that runs for too long (``BUSY``) and ends in the middle of a batch."""
    moody.answer = lambda number: (
        b"-BUSY Redis is busy running a script.\r\n" if number in (0, 1) else b":1\r\n"
    )
    plane = RedisBackplane(RedisStore(f"redis://127.0.0.1:{moody.port}/0"))
    await Receiver(plane).start()
    first, second, third = (bytes([number]) * 40_000 for number in (1, 2, 3))  # each an envelope of its own
    plane.send("rooms/lobby", first)
    plane.send("rooms/other", third)
    plane.send("rooms/lobby", second)
    assert await asyncio.to_thread(plane.flush, 10)
    await plane.stop()
    taken = [
        (has_gap(envelope), list(split(envelope))) for refused, envelope in moody.published if not refused
    ]
    assert taken == [(False, [second]), (False, [third]), (True, [])]
    assert plane.lost == {"failed": 1}
