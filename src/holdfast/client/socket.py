"""WebSocket that carries a client's messages."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from holdfast.protocol.codec import JSON

from .errors import ClientError

HANDSHAKE_SECONDS = 10.0

FINAL_STATUSES = frozenset({400, 401, 403, 404, 426})
"""Statuses of a refused handshake after which a client stays away."""

LONGEST_RETRY_AFTER = 300.0


class Socket(Protocol):
    """As much of a WebSocket as the client uses. Iterating gives its messages. The iteration ends, or raises ``ConnectionClosed`` of
    ``websockets``, when the connection has ended."""

    @property
    def close_code(self) -> int | None: ...

    async def send(self, message: str, /) -> None: ...

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...


OpenSocket = Callable[[str], AbstractAsyncContextManager[Socket]]
"""Opens a WebSocket to a URL. Entering raises ``OSError``, ``TimeoutError`` or an exception of ``websockets`` if it fails."""


def web_sockets(headers: dict[str, str], origin: str | None, options: dict[str, Any]) -> OpenSocket:
    """Return a function that opens WebSockets with these headers. ``options`` are those of ``websockets.connect``."""

    def open_socket(url: str) -> AbstractAsyncContextManager[Socket]:
        return connect(
            url,
            subprotocols=[Subprotocol(JSON.name)],
            additional_headers=headers,
            origin=origin,  # type: ignore[arg-type]  # websockets has a type of its own for it
            open_timeout=HANDSHAKE_SECONDS,
            close_timeout=1,
            max_size=None,
            ping_interval=None,
            **options,
        )

    return open_socket


def wait_after(refusal: InvalidHandshake | InvalidURI) -> float:
    """Return the seconds to wait at least after a handshake that was refused. Raises :class:`ClientError` if that was final."""
    if isinstance(refusal, InvalidURI):
        raise ClientError("invalid_url", str(refusal)) from None
    if not isinstance(refusal, InvalidStatus):
        return 0.0
    status = refusal.response.status_code
    if status in FINAL_STATUSES:
        code = "unauthenticated" if status in (401, 403) else "refused"
        raise ClientError(code, f"the handshake got HTTP {status}") from None
    try:
        after = float(refusal.response.headers.get("Retry-After") or 0)
    except ValueError:
        return 0.0
    return max(0.0, min(after, LONGEST_RETRY_AFTER))
