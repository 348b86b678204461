"""Uvicorn's HTTP protocol class with limits, a correction for WebSockets, a property for draining, and adoption.

It offers the extension ``holdfast.adopt`` to requests by GET. An application offers to give the connection away, as one of a
WebSocket does (:mod:`.websocket`), by a key of ``http.response.start``::

    {"type": "http.response.start", "status": 200, "headers": …,
     "holdfast.adopt": {"adopt": …, "ids": …, "write_buffer_bytes": …}}

The offer is part of the ordinary message, so that middleware in between can add its headers. The server calls ``adopt`` before
``send`` returns; the body then ends with the connection, and the application may return. If it has not called ``adopt``, some
middleware has kept or changed the message. The application then empties the offer and sends the body itself.
"""

import asyncio
import logging
import sys
import time
from enum import Enum
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr

from holdfast.transports.event_stream import StreamIds
from holdfast.transports.refusals import RefusalLog

from .adopted_stream import AdoptedStream, AdoptStream
from .handshake import RequestHead
from .limits import (
    BODY_BYTES,
    BODY_SECONDS,
    HEAD_BYTES,
    HEAD_FIELDS,
    HEAD_SECONDS,
    LINGER_SECONDS,
    PIPELINED,
    PORTION_BYTES,
)
from .redaction import logged_target
from .response import Headers, Response, head
from .scope import Endpoints
from .unread import UnreadWatch
from .websocket import WebSocketProtocol

_refusals = RefusalLog(logging.getLogger("uvicorn.error"), time.monotonic())

_OF_BODIES = frozenset((b"content-length", b"expect"))

_NOT_OF_STREAMS = frozenset((b"content-length", b"content-encoding", b"transfer-encoding"))


class _Part(Enum):
    """The part of a request that the next byte belongs to."""

    HEAD = "head"
    BODY = "body"


class _Stop(Exception):
    """Nothing more of this connection is parsed."""


class AdoptableCycle(RequestResponseCycle):
    """A request whose application may give the connection away in place of a response."""

    async def send(self, message: Any) -> None:
        offer = message.get("holdfast.adopt")
        if offer and not (self.response_started or self.disconnected) and _is_stream(message):
            protocol: Any = self.transport.get_protocol()
            protocol.adopt(self, message.get("headers", []), **offer)
        else:
            await super().send(message)


def _is_stream(message: Any) -> bool:
    """Return whether a response is still a stream of bytes as they are, after middleware may have changed it."""
    names = {name.lower() for name, _ in message.get("headers", [])}
    return message["status"] == 200 and names.isdisjoint(_NOT_OF_STREAMS)


class HttpProtocol(HttpToolsProtocol):
    """Bounds a request in bytes, in count and in time, and keeps the bytes that follow an upgrade request.

    httptools stores a header until it ends, and Uvicorn every request that a client sends before it has the answer to an
    earlier one. Neither has a bound, so one client could fill the memory. A request beyond :data:`HEAD_BYTES` or
    :data:`HEAD_FIELDS` is answered with 431, a head that takes longer than :data:`HEAD_SECONDS` with 408, and a body beyond
    the limit with 413. A client that reads nothing for 30 seconds is cut off. Requests beyond :data:`PIPELINED` are dropped, and
    the connection closes after the last answer; the client may repeat them (RFC 9112, 9.3.2). A body's trailers are dropped.

    The WebSocket protocol gets an upgrade request together with what followed it, which Uvicorn drops. A client must not send
    anything before it has the answer (RFC 6455, 4.1). Some clients do, and a proxy may buffer both and send them together.
    """

    _received = b""
    _part = _Part.HEAD
    _silent = 0  # bytes since the last head, portion of a body or end of a request
    _head_bytes = 0
    _declared = 0
    _body_bytes = 0
    _head_is_late = False  # the time for the head is running
    _over = False  # nothing more is parsed: refused, or upgraded
    _upgrades: bool | None = None  # the answer of _should_upgrade() for this request
    _due = 0.0
    _timer: asyncio.TimerHandle | None = None
    _unread: UnreadWatch | None = None  # made at first need

    @property
    def idle(self) -> bool:
        """Has every request on it been answered?"""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    @property
    def _body_limit(self) -> int:
        return int(getattr(self.config, "limit_request_body", BODY_BYTES))

    # ── the transport ─────────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._head_is_late = True
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._forget_timers()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.moved()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_unread()

    def _watch_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self._unread = self._unread or UnreadWatch(self.transport, self.loop, _refusals)
            self._unread.watch()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        for at in range(0, len(data), PORTION_BYTES):
            if self._over:
                break
            self._received = data[at:] if at else data
            self._parse(data if len(data) <= PORTION_BYTES else data[at : at + PORTION_BYTES])
        self._received = b""
        if not self._over:
            self._watch()
        elif self.transport.get_protocol() is self and not self.transport.is_closing():
            self.transport.pause_reading()  # Uvicorn resumes it for the application, which waits for a body

    # ── parsing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _parse(self, data: bytes) -> None:
        self._silent += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            if not self._over:
                self._refuse(400, "Invalid HTTP request received.")
        else:
            if self._silent > HEAD_BYTES and not self._over:
                self._refuse(431, "request head too large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._declared = self._body_bytes = 0
        self._upgrades = None

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._part is _Part.BODY:
            return  # a trailer must not become a header of the request (RFC 9110, 6.5.1)
        headers = self.headers
        size = self._head_bytes = self._head_bytes + len(name) + len(value) + 4
        if size > HEAD_BYTES or len(headers) >= HEAD_FIELDS:
            self._stop(431, "request head too large")
        name = name.lower()
        if name in _OF_BODIES:
            if name == b"content-length":
                self._declared = int(value)
            elif value.lower() == b"100-continue":
                self.expect_100_continue = True
        headers.append((name, value.rstrip(b" \t")))  # RFC 9110, 5.5; the parser strips the beginning

    def on_headers_complete(self) -> None:
        if self._declared > self._body_limit:
            self._stop(413, "request body too large")
        if len(self.pipeline) >= PIPELINED:
            self._close_after_answers()
            raise _Stop
        self._part, self._silent, self._head_is_late = _Part.BODY, 0, False
        super().on_headers_complete()
        scope: Any = self.scope
        # Of an earlier request, or None, if this one is an upgrade.
        cycle: RequestResponseCycle | None = self.cycle
        if scope["method"] == "GET" and cycle is not None and cycle.scope is scope:
            scope["extensions"] = {"holdfast.adopt": {}}
            cycle.__class__ = AdoptableCycle  # Uvicorn makes the object, and its task has not begun

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._body_limit:
            self._stop(413, "request body too large")
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._part, self._silent = _Part.HEAD, 0
        super().on_message_complete()

    # ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _should_upgrade(self) -> bool:
        """Return Uvicorn's answer, which costs a walk through the headers. Uvicorn asks up to four times for each request."""
        if self._upgrades is None:
            self._upgrades = super()._should_upgrade()
        return self._upgrades

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, unless an earlier request is still being answered.

        Its answer would get into the WebSocket (RFC 9110, 7.8). The connection closes after the answer instead.
        """
        error = sys.exception()  # httptools reports in it where the request ended
        if not self.idle:
            self._close_after_answers()
            return
        self._over = True
        self._forget_timers()
        kind: Any = self.ws_protocol_class
        if issubclass(kind, WebSocketProtocol):
            self._give_parsed(kind)
        else:
            super().handle_websocket_upgrade()
        self.parser = cast("Any", None)  # it refers back to this object
        protocol = self.transport.get_protocol()
        if isinstance(error, httptools.HttpParserUpgrade) and isinstance(protocol, asyncio.Protocol):
            rest = self._received[error.args[0] :]
            if rest:
                protocol.data_received(rest)

    def _give_parsed(self, kind: type[WebSocketProtocol]) -> None:
        """Hand the connection over with its request as it is. Uvicorn would write it out again, to be parsed once more."""
        self.connections.discard(self)
        protocol = kind(self.config, self.server_state, self.app_state, self.loop)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        scope: Any = self.scope
        head = RequestHead(self.parser.get_method(), self.url, scope["http_version"], self.headers)
        protocol.upgrade(head, Endpoints(self.server, self.client, self.scheme == "https"))

    # ── adoption ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def adopt(
        self,
        cycle: RequestResponseCycle,
        headers: Headers,
        *,
        adopt: AdoptStream,
        ids: StreamIds,
        write_buffer_bytes: int,
    ) -> None:
        """Answer with the head of a stream, and give the connection away. Later requests on it get no answer."""
        defaults = [pair for pair in self.server_state.default_headers if pair[0] != b"connection"]
        start = head(200, [*defaults, *headers, (b"connection", b"close")])
        if self.access_log:
            self.access_logger.info(  # Uvicorn's formatter expects these five
                '%s - "%s %s HTTP/%s" %d',
                get_client_addr(cycle.scope),
                cycle.scope["method"],
                logged_target(cycle.scope),
                cycle.scope["http_version"],
                200,
            )
        adopted = AdoptedStream(self.transport, ids, self.connections)
        self._give_up(cycle)
        self.transport.set_protocol(adopted)
        self.transport.write(start)
        try:
            adopted.begin(adopt, write_buffer_bytes=write_buffer_bytes)
        except Exception:
            self.transport.abort()  # half a stream must not look like a whole one
            raise
        self.transport.resume_reading()

    def _give_up(self, cycle: RequestResponseCycle) -> None:
        """Let go of the connection, its timers and its requests."""
        self._over = True
        self._forget_timers()
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self.connections.discard(self)
        self.server_state.total_requests += 1
        cycle.response_started = cycle.response_complete = cycle.disconnected = True
        cycle.message_event.set()
        self.parser = cast("Any", None)  # it refers back to this object

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        """Bound the time until the rest of a begun request arrives."""
        if self._part is _Part.BODY:
            self._wait(BODY_SECONDS)
        elif not self._silent:
            self._forget_time()  # no request is begun
        elif not self._head_is_late:
            self._head_is_late = True
            self._wait(HEAD_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer()

    def _set_timer(self) -> None:
        self._forget_time()
        self._timer = self.loop.call_at(self._due, self._late)

    def _forget_time(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _forget_timers(self) -> None:
        self._forget_time()
        if self._unread is not None:
            self._unread.stop()

    def _late(self) -> None:
        self._timer = None
        now = self.loop.time()
        if self.flow.read_paused:
            self._wait(BODY_SECONDS)  # the application has not taken what is there
        elif now < self._due:
            self._set_timer()
        elif self._silent or self._part is _Part.BODY:
            self._refuse(408, "the request did not arrive in time")
        else:
            self._over = True
            self.transport.close()

    # ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _stop(self, status: int, text: str) -> None:
        """Refuse, and end the run of the parser from within one of its callbacks."""
        self._refuse(status, text)
        raise _Stop

    def _refuse(self, status: int, text: str) -> None:
        """Answer with an error and close. Nothing that arrives later is parsed."""
        _refusals.note(f"An HTTP request was refused with {status}: {text}", time.monotonic())
        if self._part is _Part.HEAD and not self.idle:
            self._close_after_answers()  # earlier requests get their answers
            return
        self._over = True
        self._forget_time()
        if self._part is _Part.BODY:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.abort()  # it has an answer already, or another request's would follow
                return
        if not self.transport.is_closing():
            defaults = [pair for pair in self.server_state.default_headers if pair[0] != b"connection"]
            self.transport.write(Response(status, defaults).part(text.encode()))
            self._linger()

    def _close_after_answers(self) -> None:
        """Parse nothing more, and close once the requests before are answered."""
        self._over = True
        self._forget_time()
        self.cycle.keep_alive = False
        self.transport.pause_reading()

    def _linger(self) -> None:
        """Stop reading, and close when the client has had the time to read the answer."""
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.transport.pause_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)
