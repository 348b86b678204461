"""A GET over HTTP/1.1 whose answer is read as it comes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Answer:
    """The head of an answer, and its body as it comes."""

    def __init__(self, status: int, headers: dict[str, str], reader: asyncio.StreamReader) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises ``ConnectionError`` if it breaks off."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            async for chunk in self._chunks():
                yield chunk
            return
        length = self.headers.get("content-length")
        left = int(length) if length is not None else None
        while left is None or left > 0:
            data = await self._reader.read(min(left or 65536, 65536))
            if not data:
                if left:
                    raise ConnectionError("the body breaks off")
                return
            left = None if left is None else left - len(data)
            yield data

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
        except (asyncio.IncompleteReadError, ValueError):
            raise ConnectionError("the body breaks off") from None


@contextlib.asynccontextmanager
async def get(port: int, path: str, headers: dict[str, str]) -> AsyncIterator[Answer]:
    """Send a request. The connection is cut at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            raise ConnectionError("the head breaks off") from None
        fields = [line.partition(":") for line in head[1:] if line]
        yield Answer(
            int(head[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields}, reader
        )
    finally:
        writer.transport.abort()
