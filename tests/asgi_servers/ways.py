"""The ways to listen that are tested on each ASGI server: a transport, and a client that uses it.

test_matrix.py runs one story over each way on each server, and docs/reference/transports.md prints the table: ``scripts/generate``
writes it from here and from ``SERVERS``. Another way is another entry, and another function in test_matrix.py.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Way:
    transport: str
    client: str

    def __str__(self) -> str:
        return f"{self.transport}, {self.client}".replace(" ", "-")


PLAIN_SOCKET = Way(transport="WebSocket", client="any WebSocket client")
BROWSER_SOCKET = Way(transport="WebSocket", client="browser client, in Node")
PYTHON_SOCKET = Way(transport="WebSocket", client="Python client")
EVENT_SOURCE = Way(transport="event stream", client="EventSource")
BROWSER_STREAM = Way(transport="event stream", client="browser client, in Node")
PLAIN_POLLING = Way(transport="long polling", client="any HTTP client")
BROWSER_POLLING = Way(transport="long polling", client="browser client, in Node")
HISTORY = Way(transport="history pages", client="any HTTP client")

WAYS = (
    PLAIN_SOCKET,
    BROWSER_SOCKET,
    PYTHON_SOCKET,
    EVENT_SOURCE,
    BROWSER_STREAM,
    PLAIN_POLLING,
    BROWSER_POLLING,
    HISTORY,
)

NAMES = {
    "holdfast": "`holdfast.server`",
    "holdfast-asgi": "`holdfast.server` without adoption",
    "daphne": "Daphne",
    "uvicorn-sansio": "Uvicorn (`websockets-sansio`)",
    "uvicorn-websockets": "Uvicorn (`websockets`)",
    "uvicorn-wsproto": "Uvicorn (`wsproto`)",
    "hypercorn": "Hypercorn",
    "granian": "Granian",
}
"""Names of ``SERVERS`` in the documentation, in the order of the table's rows."""
