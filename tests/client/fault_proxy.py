"""TCP proxy on asyncio that refuses, delays, halves, freezes, closes and cuts what passes, by a seeded plan."""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fate:
    """The end of one connection: after so many bytes of the server, in the middle of the message that passes then.

    ``frozen`` is for how many seconds nothing passes before the end, though the connection stands. ``closed`` says that it ends as if
    one side had closed it, and not with a reset. ``kind`` is the name of the fault.
    """

    room: int
    kind: str = ""
    frozen: float = 0.0

    @property
    def closed(self) -> bool:
        return self.kind == "close"


class FaultProxy:
    """Some connections are refused. Each other one lives for a random number of bytes of the server; then it ends.

    That number is at most ``bytes_at_most``, and for every third connection at most ``bytes_of_third``.
    """

    def __init__(self, target: int, seed: int, *, bytes_at_most: int, bytes_of_third: int) -> None:
        self._target = target
        self._chance = random.Random(seed)
        self._most = (bytes_at_most, bytes_at_most, bytes_of_third)
        self._drawn = 0
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.calm = False
        self.port = 0
        self.faults: Counter[str] = Counter()
        """The faults that have happened: a connection may end before its fate does."""

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        # Not asyncio.start_server: a connection that it has accepted has no task for some turns of the loop, and stop() would miss it.
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def stop(self) -> None:
        self._stopped = True
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        for link in self._links:
            link.transport.abort()
        # They end by themselves now. One that is cancelled while it connects would leave a socket behind.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _fate(self) -> Fate | None:
        """Draw the fate of a connection; ``None``: it is refused."""
        room = self._chance.randrange(150, self._most[self._drawn % 3])
        self._drawn += 1
        kind = self._chance.choice(("refuse", "cut", "cut", "cut", "freeze", "freeze", "close", "close"))
        if self.calm:
            return Fate(room=room)
        if kind == "refuse":
            self.faults[kind] += 1
            return None
        frozen = self._chance.uniform(0.05, 0.4) if kind == "freeze" else 0.0
        return Fate(room=room, kind=kind, frozen=frozen)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the client has given up
        task = asyncio.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        self._links.add(writer)
        try:
            if not self._stopped and (fate := self._fate()):
                await self._carry(reader, writer, fate)
        finally:
            writer.transport.abort()
            self._links.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: Fate) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, None)),
            asyncio.create_task(self._pump(far_reader, writer, fate)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if fate.closed:
                with contextlib.suppress(OSError):
                    writer.close()
                    await asyncio.wait_for(writer.wait_closed(), 1)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            far_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: Fate | None
    ) -> None:
        passed = 0
        while data := await reader.read(self._chance.choice((64, 700, 65536))):
            if fate is not None and not self.calm and passed + len(data) > fate.room:
                self.faults[fate.kind] += 1
                writer.write(data[: fate.room - passed])
                await writer.drain()
                await asyncio.sleep(fate.frozen)
                return
            passed += len(data)
            if self._chance.random() < 0.1 and not self.calm:
                self.faults["delay"] += 1
                await asyncio.sleep(self._chance.random() / 50)
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def faulty(
    target: int, seed: int, *, bytes_at_most: int = 4000, bytes_of_third: int = 4000
) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(target, seed, bytes_at_most=bytes_at_most, bytes_of_third=bytes_of_third)
    proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
