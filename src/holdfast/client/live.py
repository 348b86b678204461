"""A client's connection on asyncio: it reconnects, and drives the protocol."""

import asyncio
import contextlib
import inspect
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from holdfast.protocol import codes
from holdfast.protocol.positions import Position

from .backoff import Backoff
from .client_protocol import ClientProtocol
from .errors import ClientError, code_of_close, is_final
from .news import Answered, Ended
from .read_ahead import HELD, WAITING, ReadAhead
from .remote_topic import RemoteTopic
from .socket import OpenSocket, Socket, wait_after, web_sockets

logger = logging.getLogger("holdfast.client")

Token = str | Callable[[], str | None] | Callable[[], Awaitable[str | None]] | None

STEADY_SECONDS = 10.0
"""Seconds after which a connection counts as one that works: the next wait is short again."""

TOO_LARGE_CLOSE = 1009
"""Close code of a peer for which a message was too large (RFC 6455, section 7.4.1)."""


def connect(
    url: str,
    *,
    token: Token = None,
    headers: dict[str, str] | None = None,
    origin: str | None = None,
    client: str | None = None,
    backoff: Backoff | None = None,
    socket_options: dict[str, Any] | None = None,
) -> "RemoteLive":
    """Return a client of the server at ``url`` (``wss://example.com/live/ws``), for ``async with``.

    ``token`` goes into the ``hello``. A function, ``def`` or ``async def``, is asked at each attempt, so that a token that has
    expired is replaced. ``headers`` go into each handshake, such as a session's ``Cookie``, which needs the site's ``origin``.
    ``client`` is this client's id; give one to go on with the calls of an earlier process. ``socket_options`` are passed to
    ``websockets.connect``, such as ``ssl`` or ``proxy``.
    """
    return RemoteLive(
        url,
        token=token,
        client=client or secrets.token_hex(16),
        backoff=backoff or Backoff(random.random),
        chance=random.random,
        open_socket=web_sockets(headers or {}, origin, socket_options or {}),
    )


class RemoteLive:
    """A client. Entering it waits for the first welcome, and raises :class:`ClientError` if the server refuses for good."""

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        client: str,
        backoff: Backoff,
        chance: Callable[[], float],
        open_socket: OpenSocket,
    ) -> None:
        self.protocol = ClientProtocol(client, chance)
        self._url = url
        self._token = token
        self._backoff = backoff
        self._open_socket = open_socket
        self._topics: dict[str, RemoteTopic] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._read_ahead = ReadAhead()
        self._changed = asyncio.Event()
        self._welcomed: asyncio.Future[None]
        self._running: asyncio.Task[None]
        self._over: ClientError | None = None

    async def __aenter__(self) -> Self:
        self._welcomed = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run())
        try:
            await asyncio.shield(self._welcomed)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def user(self) -> str | None:
        """The user's id as the server knows it; ``None`` for an anonymous client, and while there is no connection."""
        welcome = self.protocol.welcome
        return None if welcome is None else welcome.user

    @property
    def error(self) -> ClientError | None:
        """Why the client has ended: the server's last word, or ``closed``. ``None`` while it is connected, or tries to be."""
        return self._over

    # ── topics and calls ─────────────────────────────────────────────────────────────────────────────────────────────

    async def join(self, topic: str, *, since: Position | str | None = None) -> RemoteTopic:
        """Join a topic; from ``since`` on if it is given, else from now. Returns when the server has admitted the client, and
        raises :class:`ClientError` if it does not."""
        self._require_open()
        if (known := self._topics.get(topic)) is not None:
            with self._read_ahead.awaiting():
                await asyncio.shield(known.ready)
            return known
        joined = self._topics[topic] = RemoteTopic(self, topic)
        position = Position.parse(since) if isinstance(since, str) else since
        self.protocol.join(topic, position, self._now())
        self._changed.set()
        try:
            with self._read_ahead.awaiting():
                await asyncio.shield(joined.ready)
        except BaseException:
            await self.leave(topic)
            raise
        return joined

    async def leave(self, topic: str) -> None:
        """Leave a topic."""
        found = self._topics.pop(topic, None)
        if found is not None:
            self.protocol.leave(topic)
            self._hand_on()
            self._changed.set()
            self._end_topic(found, None)

    async def call(
        self, topic: str, name: str, *, key: str | None, timeout: float | None, arguments: dict[str, Any]
    ) -> Any:
        """As :meth:`RemoteTopic.call`, by the topic's name."""
        self._require_open()
        number = self.protocol.call(topic, name, key, arguments, self._now())
        try:
            async with asyncio.timeout(timeout):
                return await self._answer_to(number)
        except TimeoutError:
            raise ClientError("timeout", f"no answer within {timeout} seconds") from None
        finally:
            self.protocol.give_up(number)

    async def refresh(self, token: str) -> None:
        """Give the server a newer token of the same user, before the present one expires. It takes the place of a ``token`` that was
        given as text. Raises :class:`ClientError` with the code ``invalid_token``, and ``connection_lost`` while there is no
        connection."""
        self._require_open()
        await self._answer_to(self.protocol.refresh(token))
        if isinstance(self._token, str):
            self._token = token

    async def _answer_to(self, number: int) -> Any:
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._changed.set()
        self._hand_on()
        try:
            with self._read_ahead.awaiting():
                return await answer
        finally:
            self._answers.pop(number, None)

    def _require_open(self) -> None:
        if self._over is not None:
            raise self._over

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _run(self) -> None:
        """Connect again and again, until the server or the application ends it."""
        while True:
            try:
                wait = await self._connect_once()
            except ClientError as error:
                self._end(error, error)
                return
            except Exception as error:
                if self._welcomed.done():
                    logger.exception("the client of %s has failed and does not connect again", self._url)
                failed = ClientError("failed", f"{type(error).__name__}: {error}")
                failed.__cause__ = error
                self._end(failed, error)
                return
            wait = max(wait, self._backoff.next())
            logger.info("connection to %s lost; the next attempt is in %.1f s", self._url, wait)
            await asyncio.sleep(wait)

    async def _connect_once(self) -> float:
        """Hold one connection. Return the seconds to wait at least before the next one. Raises :class:`ClientError` at the end."""
        try:
            token = await self._ask_token()
            async with self._open_socket(self._url) as socket:
                return await self._hold(socket, token)
        except (InvalidHandshake, InvalidURI) as refusal:
            return wait_after(refusal)
        except (OSError, TimeoutError, ConnectionClosed):
            return 0.0

    async def _ask_token(self) -> str | None:
        """Return the token for an attempt. Raises ``ConnectionError`` if the application cannot give one now."""
        try:
            token = self._token() if callable(self._token) else self._token
            return await token if inspect.isawaitable(token) else token
        except Exception as error:
            logger.exception("the function that gives the token for %s failed; it is asked again", self._url)
            raise ConnectionError("no token") from error

    async def _hold(self, socket: Socket, token: str | None) -> float:
        protocol = self.protocol
        protocol.opened(token, self._now())
        reading = asyncio.create_task(self._read(socket))
        try:
            while not reading.done():
                await self._write(socket)
                if protocol.dead(self._now()):
                    return 0.0
                self._changed.clear()
                protocol.replanned = False
                wait = max(0.0, protocol.next_work() - self._now())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                protocol.work(self._now())
            reading.result()
        except ConnectionClosed:
            pass
        finally:
            if protocol.welcome is not None and self._now() - protocol.welcomed_at >= STEADY_SECONDS:
                self._backoff.reset()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            protocol.lost(too_large=socket.close_code == TOO_LARGE_CLOSE and protocol.goodbye is None)
            self._hand_on()
        return self._after(socket)

    def _after(self, socket: Socket) -> float:
        """Return the seconds to wait after a connection has closed. Raises :class:`ClientError` if that was final."""
        goodbye, close = self.protocol.goodbye, socket.close_code or 1006
        code = code_of_close(close) if goodbye is None else codes.CATALOGUE.get(goodbye.code)
        if goodbye is None:
            final = is_final(close)
            error = (
                ClientError(code.name, code.message) if code else ClientError("closed", f"close code {close}")
            )
        else:
            final = not goodbye.reconnect
            error = ClientError(goodbye.code, code.message if code else "closed", reason=goodbye.reason)
        # A token that is text does not become newer.
        if final or (code is codes.TOKEN_EXPIRED and isinstance(self._token, str)):
            raise error
        return (goodbye.after if goodbye else None) or 0.0

    async def _write(self, socket: Socket) -> None:
        outbox, self.protocol.outbox = self.protocol.outbox, []
        for message in outbox:
            await socket.send(message)

    async def _read(self, socket: Socket) -> None:
        protocol = self.protocol
        try:
            async for data in socket:
                try:
                    protocol.received(data, self._now())
                except msgspec.MsgspecError:
                    logger.warning("a message of %s cannot be read; connecting again", self._url)
                    return
                if protocol.welcome is not None and not self._welcomed.done():
                    self._welcomed.set_result(None)
                self._hand_on()
                if protocol.outbox or protocol.replanned:
                    self._changed.set()
                if self._read_ahead.paused:
                    await self._pause()
        finally:
            self._changed.set()

    async def _pause(self) -> None:
        """Read nothing until the application has taken some events, or awaits an answer."""
        self.protocol.pause()
        try:
            await self._read_ahead.wait()
        finally:
            self.protocol.resume(self._now())

    def note(self, topic: str, waiting: int) -> None:
        """Note how many items of a topic wait for the application. Called by the topic."""
        self._read_ahead.note(topic, waiting)
        if waiting >= HELD:
            self.protocol.hold_back(topic)
        elif waiting == WAITING and self.protocol.let_through(topic, self._now()):
            self._hand_on()
            self._changed.set()

    def _hand_on(self) -> None:
        news, self.protocol.news = self.protocol.news, []
        for item in news:
            if isinstance(item, Answered):
                self._answer(item)
            elif (topic := self._topics.get(item.topic)) is not None:
                if isinstance(item, Ended):
                    del self._topics[item.topic]
                    self._end_topic(topic, item.error)
                else:
                    topic.take(item)

    def _answer(self, news: Answered) -> None:
        answer = self._answers.get(news.call)
        if answer is None or answer.done():
            return
        if news.error is not None:
            answer.set_exception(news.error)
        else:
            answer.set_result(msgspec.json.decode(news.result or b"null"))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end_topic(self, topic: RemoteTopic, error: ClientError | None) -> None:
        topic.end(error)
        self._read_ahead.note(topic.name, 0)

    def _end(self, error: ClientError, cause: Exception) -> None:
        """End for good. ``cause`` is raised where the application waits for the first welcome, ``error`` everywhere else."""
        self._over = error
        if not self._welcomed.done():
            self._welcomed.set_exception(cause)
            self._welcomed.exception()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for topic in self._topics.values():
            topic.end(error)

    async def _stop(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        if self._over is not None:
            return
        self._over = ClientError("closed", "the client was closed")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._over)
        for topic in self._topics.values():
            topic.end(None)
