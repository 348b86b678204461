"""History pages of public durable topics, at ``/live/history?topic=…``. Proxies, CDNs and browsers may keep them.

A topic is public by ``Keep(public=True)``. The endpoint neither reads nor sets cookies, and its answers are the same for all
readers and origins::

    GET /live/history?topic=news                       the newest events, kept by caches for a second
    {"topic": "news", "position": "k3:257.9", "previous": "k3:200.7", "events": [{"type": "event", …}, …]}

    GET /live/history?topic=news&upto=k3:200.7         a page of 100 events, kept for ever
    {"topic": "news", "position": "k3:200.7", "previous": "k3:100.4", "events": […]}
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlencode

import msgspec
from django.http import QueryDict

from holdfast.connections.manager import ConnectionManager
from holdfast.log.base import Entry, LogError
from holdfast.protocol import codes
from holdfast.protocol.frames import TopicName
from holdfast.protocol.positions import Position
from holdfast.streams.history import END, SPAN, Gone, HistoryPage, NoPage, full, newest, rest
from holdfast.topics.keep import Keep
from holdfast.topics.topic import Topic

from .admission import admit
from .asgi import Message, Receive, Scope, Send
from .handshake import Handshake
from .http_errors import fail, payload_of
from .request_body import client_gone
from .responses import respond, respond_json

YEAR = 31_536_000
"""Seconds for which caches keep a full page of a topic without a retention by age."""

SECONDS = 1
"""Seconds for which caches keep what may change: the newest events, and pages that are partly trimmed."""

PARAMETERS = ("topic", "upto")

CORS = (b"access-control-allow-origin", b"*")
"""All origins, without credentials. One value for all, so that a cache keeps one copy."""


class BadQuery(Exception):
    """A query that names no page. The text tells the developer of the client what to change."""


class CutOff(Exception):
    """The client has gone, or reads nothing. The response ends before its length, and the server closes the connection."""


class LiveHistory:
    """The ASGI application behind ``/live/history``. ``service`` is called at each request.

    A request counts as a connection of its address while it is answered. A page is written as it is read from the log, a few
    hundred kilobytes at a time. One of more than that is read twice, because its length comes first.
    """

    def __init__(self, service: Callable[[], ConnectionManager]) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_to_all(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), CORS]}
            await send(message)

        if scope["method"] == "OPTIONS":
            allow = (b"access-control-allow-methods", b"GET, HEAD"), (b"access-control-allow-headers", b"*")
            headers = [*allow, (b"access-control-max-age", b"86400"), (b"allow", b"GET, HEAD, OPTIONS")]
            await send_to_all({"type": "http.response.start", "status": 204, "headers": headers})
            await send_to_all({"type": "http.response.body", "body": b""})
        elif scope["method"] not in ("GET", "HEAD"):
            allowed = (b"allow", b"GET, HEAD, OPTIONS")
            await respond(scope, send_to_all, 405, "Pages are fetched by GET.\n", allowed)
        else:
            await self._get(scope, receive, send_to_all)

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service()
        admission = await admit(service.boundary, Handshake(scope, send, "history"))
        if admission is None:
            return
        try:
            name, upto = asked_for(QueryDict(scope.get("query_string", b"")))
            found = service.registry.resolve(name, None)
            keep = None if found is None else found.declared.keep
            if found is None or keep is None or not keep.public:
                text = "There is no topic of this name with a public history.\n"
                await respond(scope, send, 404, text)
                return
            await _Answer(service, scope, receive, send).give(found, keep, upto)
        except BadQuery as error:
            await respond(scope, send, 400, f"{error}\n")
        finally:
            admission.end()


def asked_for(query: QueryDict) -> tuple[str, Position | None]:
    """Return the topic and the page that a query asks for. Raises :class:`BadQuery`.

    Other parameters are refused: each spelling of an address is another copy in every cache.
    """
    for name, values in query.lists():
        if name not in PARAMETERS or len(values) != 1:
            raise BadQuery("Name one topic, and at most one page: ?topic=news&upto=k3:200.7")
    try:
        topic = msgspec.convert(query.get("topic", ""), TopicName)
        upto = Position.parse(query["upto"]) if "upto" in query else None
    except msgspec.ValidationError as error:
        raise BadQuery(str(error)) from None
    if upto is not None and (not upto.offset or upto.offset % SPAN):
        raise BadQuery(f"Pages end at each {SPAN}th event: upto=k3:{SPAN}, upto=k3:{2 * SPAN}, …")
    return topic, upto


class _Answer:
    """The answer to one request."""

    def __init__(self, service: ConnectionManager, scope: Scope, receive: Receive, send: Send) -> None:
        self._service = service
        self._scope = scope
        self._receive = receive
        self._send = send

    async def give(self, topic: Topic, keep: Keep, upto: Position | None) -> None:
        runtime = self._service.runtime
        log, run = runtime.log, runtime.log_threads.run
        try:
            if upto is None:
                page = await run(newest, log, topic.name)
            else:
                page = await run(full, log, topic.name, upto)
        except NoPage:
            text = "The page is not full yet. Ask without upto for the newest events.\n"
            await respond(self._scope, self._send, 404, text)
        except Gone as gone:
            await self._gone(topic, gone)
        except LogError:
            await fail(self._send, payload_of(codes.UNAVAILABLE, retry_after=1.0))
        else:
            if upto is not None and upto != page.position:
                await self._redirect(topic, page.position)
            else:
                await self._page(page, lifetime(page, keep))

    async def _gone(self, topic: Topic, gone: Gone) -> None:
        """Answer 410 with what the log has instead, in the form of a ``reset``."""
        head = gone.head
        payload = {
            "reason": gone.reason,
            "epoch": head.epoch,
            "offset": head.offset,
            "stamp": head.stamp,
            "floor": head.floor,
        }
        body = msgspec.json.encode({"type": "reset", "topic": topic.name, "payload": payload})
        await respond_json(self._send, 410, b"" if self._is_head else body)

    async def _redirect(self, topic: Topic, to: Position) -> None:
        """Lead to the name of a page. A client that knows only its number asks with a position without a stamp."""
        query = urlencode({"topic": topic.name, "upto": str(to)}, safe="/:")
        cached = f"public, max-age={SECONDS}".encode()
        headers = [
            (b"location", f"?{query}".encode()),
            (b"cache-control", cached),
            (b"content-length", b"0"),
        ]
        await self._send({"type": "http.response.start", "status": 307, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    async def _page(self, page: HistoryPage, cached: str) -> None:
        shared = [(b"cache-control", cached.encode()), (b"etag", page.tag.encode())]
        if _matches(self._scope, page.tag):
            await self._send({"type": "http.response.start", "status": 304, "headers": shared})
            await self._send({"type": "http.response.body", "body": b""})
            return
        begin = page.head + page.messages(page.entries)
        size = len(begin) + len(END) + (0 if page.whole else await self._size_of_rest(page))
        headers = [
            *shared,
            (b"content-type", b"application/json"),
            (b"content-length", str(size).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if self._is_head:
            await self._send({"type": "http.response.body", "body": b""})
        else:
            with contextlib.suppress(CutOff, LogError):  # the response has begun
                await self._write_body(page, begin)

    async def _write_body(self, page: HistoryPage, begin: bytes) -> None:
        if page.whole:
            await self._write(begin + END, more=False)
            return
        await self._write(begin, more=True)
        gone = asyncio.get_running_loop().create_task(client_gone(self._receive))
        try:
            async for part in self._parts(page):
                if gone.done():
                    raise CutOff
                await self._write(part, more=True)
        finally:
            gone.cancel()
        await self._write(END, more=False)

    async def _parts(self, page: HistoryPage) -> AsyncIterator[bytes]:
        """Yield what the first read did not bring, as it is read."""
        runtime, last = self._service.runtime, page.entries[-1]
        while last.offset < page.position.offset:
            entries: list[Entry] = await runtime.log_threads.run(rest, runtime.log, page, last)
            last = entries[-1]
            yield b"," + page.messages(entries)

    async def _size_of_rest(self, page: HistoryPage) -> int:
        """Return the bytes that :meth:`_parts` yields. Only a response of a known length shows caches that it was cut off."""
        return sum([len(part) async for part in self._parts(page)])

    async def _write(self, body: bytes, *, more: bool) -> None:
        """Write a part of the body. Raises :class:`CutOff` if the client does not read it."""
        try:
            async with asyncio.timeout(self._service.policy.stall_seconds):
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            raise CutOff from None

    @property
    def _is_head(self) -> bool:
        return bool(self._scope["method"] == "HEAD")


def lifetime(page: HistoryPage, keep: Keep) -> str:
    """Return the ``Cache-Control`` of a page. A copy of an event need not outlive the topic's retention by more than that again."""
    if not page.final:
        return f"public, max-age={SECONDS}"
    seconds = YEAR if keep.age is None else min(YEAR, int(keep.age.total_seconds()))
    return f"public, max-age={max(SECONDS, seconds)}, immutable"


def _matches(scope: Scope, tag: str) -> bool:
    """Whether the client has this content already (RFC 9110, section 13.1.2)."""
    sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
    tags = [one.strip().removeprefix("W/") for value in sent for one in value.split(",")]
    return tag in tags or "*" in tags
