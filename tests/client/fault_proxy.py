"""TCP proxy on asyncio that delays, halves and cuts what passes, by a seeded plan."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator


class FaultProxy:
    """Each connection lives for a random number of bytes of the server; then it is cut, in the middle of whatever passes."""

    def __init__(self, target: int, seed: int, *, bytes_at_most: int) -> None:
        self._target = target
        self._chance = random.Random(seed)
        self._most = bytes_at_most
        self._links: set[asyncio.StreamWriter] = set()
        self.opened: list[float] = []
        """When connections were opened, by the loop's clock."""
        self.calm = False
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for link in self._links:
            link.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened.append(asyncio.get_running_loop().time())
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._links |= {writer, far_writer}
        room = self._chance.randrange(150, self._most)
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, None)),
            asyncio.create_task(self._pump(far_reader, writer, room)),
        ]
        with contextlib.suppress(OSError):
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for link in (writer, far_writer):
            link.transport.abort()
            self._links.discard(link)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: int | None
    ) -> None:
        passed = 0
        while data := await reader.read(self._chance.choice((64, 700, 65536))):
            if room is not None and not self.calm and passed + len(data) > room:
                writer.write(data[: room - passed])
                await writer.drain()
                return
            passed += len(data)
            if self._chance.random() < 0.1 and not self.calm:
                await asyncio.sleep(self._chance.random() / 50)
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def faulty(target: int, seed: int, *, bytes_at_most: int = 4000) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(target, seed, bytes_at_most=bytes_at_most)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
