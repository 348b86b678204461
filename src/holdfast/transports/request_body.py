"""Reads the body of an HTTP request, up to a bound in bytes and in time."""

import asyncio

from holdfast.protocol import codes

from .asgi import Receive, Scope, Send
from .http_errors import fail, payload_of
from .responses import respond

BODY_SECONDS = 10.0
"""Seconds that a client may take to send the body of a request."""


class BodyTooLarge(Exception):
    """The body has more bytes than it may."""


class BodyIncomplete(Exception):
    """The client went away, or took too long, before the body was complete."""


async def read_body(receive: Receive, most: int) -> bytes:
    """Return the body. At most ``most`` bytes are kept.

    Raises :class:`BodyTooLarge` or :class:`BodyIncomplete`.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BodyIncomplete
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise BodyTooLarge
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise BodyIncomplete from None


async def body_of(scope: Scope, receive: Receive, send: Send, most: int) -> bytes | None:
    """Return the body of a request. ``None``: it was too large or incomplete, and has been refused."""
    try:
        return await read_body(receive, most)
    except BodyTooLarge:
        await fail(send, payload_of(codes.TOO_LARGE))
    except BodyIncomplete:
        why = "The request was not complete in time.\n"
        await respond(scope, send, 408, why, (b"connection", b"close"))
    return None


async def client_gone(receive: Receive) -> None:
    """Return when the client of a request, whose body was read, has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
