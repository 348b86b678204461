"""The proxies between the parts of the fleet: they do what the schedule demands, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from .chaos.proxy import BUFFER_BYTES, Proxy

SECONDS = 5.0


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy in front of a server that echoes everything."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy("test", server.sockets[0].getsockname()[:2]) as made:
        yield made


class Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def echo(self, data: bytes) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(SECONDS):
            return await self.reader.readexactly(len(data))

    async def rest(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.reader.read()

    async def is_silent(self) -> bool:
        """Return whether nothing has arrived after the loop has turned for a while."""
        try:
            async with asyncio.timeout(0.1):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def line(proxy: Proxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield Line(reader, writer)
    writer.close()


async def test_passes_on_in_both_directions(line: Line) -> None:
    data = bytes(range(256)) * (4 * BUFFER_BYTES // 256)
    assert await line.echo(data) == data


async def test_an_end_is_passed_on_after_what_came_before_it(line: Line) -> None:
    line.writer.write(b"last words")
    line.writer.write_eof()
    assert await line.rest() == b"last words"


async def test_bytes_that_a_black_hole_held_arrive_afterwards_in_order(proxy: Proxy, line: Line) -> None:
    assert await line.echo(b"before") == b"before"
    proxy.hold()
    line.writer.write(b"in")
    assert await line.is_silent()
    line.writer.write(b"side")
    proxy.let_go()
    assert await line.reader.readexactly(6) == b"inside"


async def test_a_delay_keeps_the_order(proxy: Proxy, line: Line) -> None:
    proxy.delay = 0.02
    data = b"".join(b"%04d" % number for number in range(50))
    for start in range(0, len(data), 4):
        line.writer.write(data[start : start + 4])
        await asyncio.sleep(0)
    assert await line.reader.readexactly(len(data)) == data


async def test_a_cut_delivers_a_first_part_and_then_the_end(proxy: Proxy, line: Line) -> None:
    assert await line.echo(b"before") == b"before"
    proxy.cut_streams(1.0)
    line.writer.write(b"x" * 1000)
    try:
        arrived = await line.rest()
    except ConnectionError:
        arrived = b""  # the part went to the server, and this end was reset
    assert len(arrived) < 1000


async def test_a_drop_resets_all_connections(proxy: Proxy, line: Line) -> None:
    assert await line.echo(b"before") == b"before"
    assert proxy.drop() == 1
    with pytest.raises(ConnectionError):
        await line.rest()


async def test_a_refused_connection_gets_no_answer(proxy: Proxy) -> None:
    proxy.refusing = True
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"anybody there?")
    with pytest.raises(ConnectionError):
        await Line(reader, writer).echo(b"hello")
    proxy.calm()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await Line(reader, writer).echo(b"hello") == b"hello"
    writer.close()
