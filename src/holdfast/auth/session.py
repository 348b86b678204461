"""Who opens a connection: the user of the session that the handshake's cookie names.

The same answer as Channels' ``AuthMiddlewareStack`` gives, for a fraction of the work: a handshake without a session cookie
asks nobody, and those that come at the same time share one visit to a worker thread, which keeps its connections to the
session store and to the database. Channels' stack goes there twice for each, and opens a new connection to the cache.

A handshake only reads. Where a request would flush a session that does not verify any more, or give it a new key because
the secret key has changed (``SECRET_KEY_FALLBACKS``), here nothing is written: the response to a WebSocket's handshake has
been sent by whoever accepts it, without the new cookie.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import parse_cookie

from holdfast import conf
from holdfast.hub.runtime import SESSION_THREADS
from holdfast.hub.surroundings import HandlerInfo
from holdfast.hub.threads import Threads
from holdfast.protocol import codes
from holdfast.topics.failures import Verdict, report, verdict_of

from . import session_store as sessions
from .host import host_of

logger = logging.getLogger("holdfast.authentication")

Scope = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]

AT_ONCE = 64
"""Sessions that are read together at most: more would keep the first ones waiting."""


class SessionAuthentication:
    """ASGI middleware: puts ``session`` and ``user`` into the scope, unless something outside of it has put a user there."""

    def __init__(self, inner: Application, threads: Callable[[], Threads]) -> None:
        self._inner = inner
        self._threads = threads
        self._readers: dict[asyncio.AbstractEventLoop, Reader] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if "user" not in scope:
            key = session_key(scope["headers"])
            if key is None:
                scope = {**scope, "session": None, "user": AnonymousUser()}
            else:
                host = None if conf.settings().handler_context is None else host_of(scope)
                try:
                    session, user = await self._reader().find(key, host)
                except (
                    PermissionDenied
                ):  # said by the project's context manager: there is nothing at this host
                    await receive()
                    await send({"type": "websocket.close"})
                    return
                except Exception as error:
                    if verdict_of(error) is not Verdict.UNAVAILABLE:
                        raise
                    report(logger, "a session could not be read", error)
                    await _come_back_later(scope, receive, send)
                    return
                scope = {**scope, "session": session, "user": user}
        await self._inner(scope, receive, send)

    def _reader(self) -> "Reader":
        loop = asyncio.get_running_loop()
        reader = self._readers.get(loop)
        if reader is None:
            self._readers = {
                other: reader for other, reader in self._readers.items() if not other.is_closed()
            }
            reader = self._readers[loop] = Reader(self._threads)
        return reader


class Reader:
    """Reads the sessions that are asked for on one event loop: while some are read, the next ones gather."""

    def __init__(self, threads: Callable[[], Threads]) -> None:
        self._threads = threads
        self._asked: list[Asked] = []
        self._reading: set[asyncio.Task[None]] = set()

    async def find(self, key: str, host: str | None = None) -> sessions.Found:
        """The session and its user, as they are at a host. Raises what reading it raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[sessions.Found] = loop.create_future()
        self._asked.append(Asked(key, host, answer))
        if len(self._reading) < SESSION_THREADS:
            self._reading.add(loop.create_task(self._read()))
        return await answer

    async def _read(self) -> None:
        try:
            while self._asked:
                host = self._asked[0].host
                group: list[Asked] = []
                later: list[Asked] = []
                for asked in self._asked:
                    together = asked.host == host and len(group) < AT_ONCE
                    (group if together else later).append(asked)
                self._asked = later
                await self._answer(host, group)
        finally:
            # At once: who comes after the last look, in the same turn of the loop, must not count on this one.
            self._reading.remove(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _answer(self, host: str | None, group: "list[Asked]") -> None:
        keys = [asked.key for asked in group]
        try:
            found = await self._threads().handle(HandlerInfo(host=host), sessions.find, keys)
        except Exception as error:  # noqa: BLE001 - it is handed to everybody who asked
            found = [error] * len(group)
        for (_, _, answer), one in zip(group, found, strict=True):
            if answer.done():
                continue  # who asked has gone
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)


async def _come_back_later(scope: Scope, receive: Any, send: Any) -> None:
    """Turn down a handshake whose user cannot be found out now: to let it in as an anonymous one would be final."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1")]
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})  # browsers cannot tell the difference
            return
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    await send({"type": f"{kind}.start", "status": 503, "headers": headers})
    await send({"type": f"{kind}.body", "body": codes.UNAVAILABLE.message.encode()})


class Asked(NamedTuple):
    """A session that a handshake waits for."""

    key: str
    host: str | None
    answer: "asyncio.Future[sessions.Found]"


def session_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The session that the cookies name, or ``None``."""
    name = settings.SESSION_COOKIE_NAME
    raw = name.encode()
    for header, value in headers:
        if header == b"cookie" and raw in value:
            try:
                return parse_cookie(value.decode("latin-1")).get(name) or None
            except CookieError:
                return None
    return None
