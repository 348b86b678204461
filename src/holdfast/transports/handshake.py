"""One handshake, and its refusal: the response, and the notice for signals and the log."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from holdfast.auth.address import network_of
from holdfast.connections import notices
from holdfast.connections.notices import Peer
from holdfast.protocol.codes import Code

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


CODE_HEADER = b"holdfast-code"
"""Header of a refusal with the name of its code. The text is for developers, and a proxy's refusal has the same status."""


def address_of(scope: Scope) -> str | None:
    """Return the client's address as the server reports it. Connections of one address share one string."""
    client = scope.get("client")
    if not client:
        return None
    address: str = client[0]
    network = network_of(address)
    return network if network == address else address


class Handshake:
    """A request that opens a connection, or makes a call, and the way to answer it. ``transport`` is its name in notices."""

    __slots__ = ("scope", "send", "transport")

    def __init__(self, scope: Scope, send: Send, transport: str) -> None:
        self.scope = scope
        self.send = send
        self.transport = transport

    @property
    def address(self) -> str | None:
        return address_of(self.scope)

    @property
    def network(self) -> str | None:
        """The address as limits count it."""
        address = self.address
        return None if address is None else network_of(address)

    async def refuse(
        self,
        status: int,
        code: Code,
        *headers: tuple[bytes, bytes],
        text: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Answer with the text, or that of ``code``, if the server can send a response to a WebSocket's handshake; a close becomes a
        403. Send the notice."""
        self.report(code, status=status, retry_after=retry_after)
        kind = "http.response"
        if self.scope["type"] == "websocket":
            kind = "websocket.http.response"
            if status == 403 or kind not in self.scope.get("extensions", {}):
                await self.send({"type": "websocket.close"})  # browsers cannot tell the difference
                return
        sent = [(b"content-type", b"text/plain; charset=utf-8"), (CODE_HEADER, code.name.encode()), *headers]
        body = code.message if text is None else text
        await self.send({"type": f"{kind}.start", "status": status, "headers": sent})
        await self.send({"type": f"{kind}.body", "body": body.encode()})

    def report(
        self,
        code: Code,
        *,
        status: int | None = None,
        close_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Send the notice that this handshake was refused."""
        if notices.REFUSED.wanted:
            notices.REFUSED.send(
                Peer(self.transport, self.address),
                code=code.name,
                status=status,
                close_code=close_code,
                retry_after=retry_after,
            )

    def report_limit(self, limit: str, retry_after: float | None, user_id: str | None = None) -> None:
        """Send the notice that this handshake, or the call that it makes, is beyond a limit."""
        if notices.LIMIT_HIT.wanted:
            peer = Peer(self.transport, self.address, None, user_id)
            notices.LIMIT_HIT.send(peer, limit=limit, retry_after=retry_after, topic=None)
