"""Sessions: the authenticator that goes by the session of the handshake's cookie.

It gives the same answer as Channels' ``AuthMiddlewareStack``, for a fraction of the work. A handshake without a session
cookie reads nothing. Handshakes that arrive at the same time share one visit to a worker thread, which keeps its connections
to the session store and to the database. Channels' stack visits a thread twice for each handshake, and opens a new connection
to the cache.

A handshake only reads. Where a request would flush a session that no longer verifies, or give it a new key because the secret
key has changed (``SECRET_KEY_FALLBACKS``), nothing is written here: the response to a WebSocket's handshake carries no new
cookie.
"""

import asyncio
from collections.abc import Iterable, Sequence
from http.cookies import CookieError
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import parse_cookie
from django.utils.functional import empty

from holdfast import runtime
from holdfast.runtime import SESSION_THREADS
from holdfast.threads.handler_context import HandlerInfo

from . import revalidation, session_store
from .base import Authenticator, AuthRequest, Identity

BATCH_SIZE = 64
"""Sessions that are read together at most. Larger batches would keep the first ones waiting."""

GATHER_SECONDS, LONGEST_GATHERING = 0.01, 0.05
"""Least and most seconds between the beginnings of two reads, unless a whole batch waits. Between them it is twice what the last read
took: a busy process reads fewer and larger batches. A handshake waits that long at most, and only among others."""

LONGEST_KEY = 100
"""Characters of a session key that a connection keeps. Django's own keys have 32."""


class SessionAuthenticator(Authenticator):
    """Authenticates a handshake by its session, unless a middleware in front has found a user. No token is valid."""

    def __init__(self) -> None:
        self._readers: dict[asyncio.AbstractEventLoop, SessionReader] = {}

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        if request.token is not None and request.scheme is None:
            return None  # a token in a header may be a proxy's: as in Django, it means nothing to a session
        if request.user is not None:
            return _found_in_front(request)
        key = session_key(request.headers)
        if key is None:
            return request.identify(AnonymousUser())  # its own: handlers may set attributes on it
        host = request.host if runtime.current().threads.tells_hosts_apart else None
        session, user = await self._reader().find(key, host)
        return request.identify(user, session_key=_key_of(session, user))

    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        """Read sessions and users again, with few queries for many identities (:func:`.revalidation.revalidate`)."""
        return await revalidation.revalidate_in_threads(identities)

    def _reader(self) -> "SessionReader":
        loop = asyncio.get_running_loop()
        reader = self._readers.get(loop)
        if reader is None:
            self._readers = {
                other: reader for other, reader in self._readers.items() if not other.is_closed()
            }
            reader = self._readers[loop] = SessionReader()
        return reader


class SessionReader:
    """Reads sessions for the handshakes of one event loop in batches.

    The first read begins at once. While handshakes keep coming, the next one begins a moment after that (:data:`GATHER_SECONDS`), or
    as soon as a whole batch waits: reading one session alone takes ten times the processor time of one among many.
    """

    def __init__(self) -> None:
        self._pending: list[PendingRead] = []
        self._reading: set[asyncio.Task[None]] = set()
        self._next = float("-inf")  # the time at which the next read is due
        self._timer: asyncio.TimerHandle | None = None

    async def find(self, key: str, host: str | None = None) -> session_store.Found:
        """Return the session and its user, as they are at ``host``. Raises what reading the session raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[session_store.Found] = loop.create_future()
        self._pending.append(PendingRead(key, host, answer))
        self._go_on(loop)
        return await answer

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the next read now, when it is due, or when a thread is free."""
        if not self._pending or len(self._reading) >= SESSION_THREADS:
            return
        now = loop.time()
        wait = self._next - now
        if wait <= 0 or len(self._pending) >= BATCH_SIZE:
            self._next = now + GATHER_SECONDS
            self._reading.add(loop.create_task(self._read(loop)))
        elif self._timer is None:
            self._timer = loop.call_later(wait, self._gathered, loop)

    def _gathered(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._go_on(loop)

    async def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read one batch, of handshakes for the same host."""
        begun = loop.time()
        try:
            if self._pending:  # else a read that began in the same turn of the loop has taken them
                await self._answer(*self._take_batch())
        finally:
            self._reading.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._next = max(self._next, begun + min(2 * (loop.time() - begun), LONGEST_GATHERING))
        self._go_on(loop)  # now: a session that is asked for later in this turn begins a read by itself

    def _take_batch(self) -> "tuple[str | None, list[PendingRead]]":
        host = self._pending[0].host
        batch: list[PendingRead] = []
        later: list[PendingRead] = []
        for read in self._pending:
            together = read.host == host and len(batch) < BATCH_SIZE
            (batch if together else later).append(read)
        self._pending = later
        return host, batch

    async def _answer(self, host: str | None, batch: "list[PendingRead]") -> None:
        keys = [read.key for read in batch]
        threads = runtime.current().session_threads
        try:
            found = await threads.handle(HandlerInfo(host=host), session_store.find, keys)
        except Exception as error:  # noqa: BLE001 - every handshake of the batch raises it
            found = [error] * len(batch)
        for (_, _, answer), one in zip(batch, found, strict=True):
            if answer.done():
                continue  # the client left during its handshake
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)


class PendingRead(NamedTuple):
    """A session that a handshake waits for."""

    key: str
    host: str | None
    answer: "asyncio.Future[session_store.Found]"


def session_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the session key in the cookies, or ``None``."""
    name = settings.SESSION_COOKIE_NAME
    raw = name.encode()
    for header, value in headers:
        if header == b"cookie" and raw in value:
            try:
                return parse_cookie(value.decode("latin-1")).get(name) or None
            except CookieError:
                return None
    return None


def _found_in_front(request: AuthRequest) -> Identity:
    """The identity of a user that a middleware has found, without the lazy object that wraps it."""
    found = getattr(request.user, "_wrapped", request.user)
    user = request.user if found is empty else found
    return request.identify(user, session_key=_key_of(request.session, user))


def _key_of(session: Any, user: Any) -> str | None:
    """Return the key of the session that named the user; ``None`` if something else named the user, or if the client keeps
    the session (a signed cookie has no key: it is the session)."""
    session = getattr(session, "_wrapped", session)
    data: Any = getattr(session, "_session_cache", None)
    if not data or user is None or not session_store.names(session, user):
        return None
    key: str | None = session.session_key
    return key if key is not None and len(key) <= LONGEST_KEY else None
