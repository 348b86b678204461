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
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.http import parse_cookie
from django.utils.functional import empty

from holdfast import runtime
from holdfast.runtime import SESSION_THREADS
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.owner import user_id

from . import revalidation, session_store
from .base import Authenticator, AuthRequest, Identity

BATCH_SIZE = 64
"""Sessions that are read together at most. Larger batches would keep the first ones waiting."""

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
    """Reads sessions for the handshakes of one event loop in batches: while one batch is read, the next gathers."""

    def __init__(self) -> None:
        self._pending: list[PendingRead] = []
        self._reading: set[asyncio.Task[None]] = set()

    async def find(self, key: str, host: str | None = None) -> session_store.Found:
        """Return the session and its user, as they are at ``host``. Raises what reading the session raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[session_store.Found] = loop.create_future()
        self._pending.append(PendingRead(key, host, answer))
        if len(self._reading) < SESSION_THREADS:
            self._reading.add(loop.create_task(self._read()))
        return await answer

    async def _read(self) -> None:
        try:
            while self._pending:
                host = self._pending[0].host
                batch: list[PendingRead] = []
                later: list[PendingRead] = []
                for read in self._pending:
                    together = read.host == host and len(batch) < BATCH_SIZE
                    (batch if together else later).append(read)
                self._pending = later
                await self._answer(host, batch)
        finally:
            # In the same turn of the loop: a read that arrives after the last look must start a new task.
            self._reading.remove(cast("asyncio.Task[None]", asyncio.current_task()))

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
    if not data or user is None or str(data.get(SESSION_KEY)) != user_id(user):
        return None
    key: str | None = session.session_key
    return key if key is not None and len(key) <= LONGEST_KEY else None
