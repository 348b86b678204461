"""One HTTP/2 connection without TLS, whose client knows that the server speaks it (RFC 9113, section 3.3)."""

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived

SECONDS = 20.0


class Http2:
    """A client that has several requests under way on one connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._http = H2Connection(config=H2Configuration(header_encoding="utf-8"))
        self._bodies: defaultdict[int, bytes] = defaultdict(bytes)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._http.initiate_connection()
        self._flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def get(self, path: str, **headers: str) -> int:
        """Send a request, and return its stream."""
        stream: int = self._http.get_next_available_stream_id()
        pseudo = {":method": "GET", ":path": path, ":scheme": "http", ":authority": f"127.0.0.1:{self._port}"}
        self._http.send_headers(stream, [*pseudo.items(), *headers.items()], end_stream=True)
        self._flush()
        return stream

    async def read(self, stream: int, until: bytes) -> None:
        """Read until the body of a response contains these bytes."""
        async with asyncio.timeout(SECONDS):
            while until not in self._bodies[stream]:
                data = await self._reader.read(65536)
                assert data, "the connection has ended"
                for event in self._http.receive_data(data):
                    if isinstance(event, DataReceived):
                        self._bodies[event.stream_id] += event.data
                        self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._flush()

    def _flush(self) -> None:
        self._writer.write(self._http.data_to_send())
