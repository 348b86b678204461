"""Long polling on any ASGI server, at ``/live/poll?topic=…&topic=…``. Takes no protocol decision.

A client asks again and again; each answer brings the messages since the last one, and waits for the first of them::

    GET /live/poll?topic=rooms/lobby
    {"session": "f3…", "ack": 1, "last": "5d…@k3:57", "messages": [{"type": "welcome", …}, {"type": "joined", …}]}

    GET /live/poll?topic=rooms/lobby&session=f3…&ack=1&last-event-id=5d…@k3:57
    {"session": "f3…", "ack": 2, "last": "5d…@k3:58", "messages": [{"type": "event", …}]}

``ack`` is the number of the last answer that the client has read: an answer that was lost on its way is given again. Between
two requests the connection lingers, so that presence does not flicker and no position is read again. A client whose session is
not known here (another process, or it came too late) resumes from ``last-event-id``, as an event stream does. Its request waits
for news like any other: behind a proxy that sends each request to another process, an answer of nothing but the welcome would
bring the next request at once, without end.
"""

import asyncio
import math
import secrets
from collections.abc import Callable
from typing import ClassVar

from django.http import QueryDict

from holdfast.auth.base import Identity
from holdfast.connections.admission import Admission
from holdfast.connections.connection import Connection
from holdfast.connections.manager import ConnectionManager
from holdfast.protocol.bucket import Bucket
from holdfast.protocol.codec import JSON
from holdfast.protocol.event_ids import entry
from holdfast.protocol.frames import PongFrame
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst

from .admission import admit
from .asgi import Receive, Scope, Send
from .handshake import Handshake
from .request_body import client_gone
from .responses import respond, respond_json
from .stream_request import StreamRequest, asked_by

WAIT_SECONDS = 25.0
"""Seconds after which a request is answered without a message. Proxies often end a silent request after 60."""

LINGER_SECONDS = 10.0
"""Seconds after an answer in which the client has to ask again, or its connection is closed."""

KEEPALIVE = JSON.encode(PongFrame())
"""A message that says nothing to a client which asks anyway."""


class PollTransport:
    """Collects the messages of one connection until a request fetches them. ``topics`` are those that the client asked for.

    An answer is kept until the next request says that the client has it. Events beyond ``limit`` bytes pause the connection, as
    a full socket does.
    """

    __slots__ = (
        "_at",
        "_changed",
        "_known",
        "_limit",
        "_messages",
        "_paused",
        "_size",
        "ack",
        "bytes_sent",
        "connection",
        "given",
        "over",
        "request",
        "session",
    )

    name: ClassVar = "polling"
    duplex: ClassVar = False
    closed_by_server: ClassVar = False
    binary: ClassVar = False

    def __init__(self, limit: int, request: StreamRequest, *, resumes: bool = False) -> None:
        self.session = secrets.token_urlsafe(16)
        self.request = request
        self.ack = 0
        """The number of the last answer."""
        self.given = b""
        """The last answer, for a client that asks for it again."""
        self.over = False
        self.bytes_sent = 0
        self.connection: Connection | None = None
        self._limit = limit
        self._messages: list[bytes] = []
        self._size = 0
        self._paused = False
        self._changed: asyncio.Future[None] | None = None
        # Messages that tell a client nothing new that has been welcomed elsewhere: the welcome, and a join that goes on where it was.
        self._known = 1 if resumes else 0
        # By canonical name. A position that the client gave stands under the name that it asked for until the topic is joined:
        # else a session that ends before that, or to which the topic is refused for a while, would take it along.
        self._at = {asked: (asked, position) for asked, position in request.since.items()}

    # ── called by the connection ──────────────────────────────────────────────────────────────────────────────────────

    def note_join(self, asked: str, topic: str, position: Position | None) -> None:
        if self._known and position == self.request.since.get(asked):
            self._known += 1
        if position is not None:
            self._at.pop(asked, None)
            self._at[topic] = asked, position

    def note_reset(self, topic: str, position: Position | None) -> None:
        if position is not None and topic in self._at:
            self._at[topic] = self._at[topic][0], position

    def send(self, data: str | bytes) -> None:
        if data == KEEPALIVE or self.over:
            return
        self._add(data.encode() if isinstance(data, str) else data)
        if self._size > 2 * self._limit and self.connection is not None:
            self._size = 0  # report it once
            self.connection.stalled()

    def slow_down(self, seconds: float) -> None:
        """Do nothing: a client sends nothing on it."""

    def send_events(self, burst: Burst) -> None:
        if self.over:
            return
        for event in burst.events:
            self._add(event.json)
        last = burst.events[-1]
        if last.offset is not None and last.topic in self._at:
            asked, position = self._at[last.topic]
            moved = Position(epoch=position.epoch, offset=last.offset, stamp=last.stamp)
            self._at[last.topic] = asked, moved
        if self._size > self._limit and not self._paused and self.connection is not None:
            self._paused = True
            self.connection.paused()

    def _add(self, message: bytes) -> None:
        self._messages.append(message)
        self._size += len(message)
        self.wake()

    def wake(self) -> None:
        """Let the request that waits look again."""
        changed = self._changed
        if changed is not None and not changed.done():
            changed.set_result(None)

    def probe(self) -> bool:
        """Return ``False``: a client shows life by asking."""
        return False

    def report_blocking(self) -> None:
        pass  # nothing is written ahead of a request

    def close(self, code: int, reason: str) -> None:
        if self.over:
            return
        self.over = True
        self.wake()
        # The client may fetch the goodbye for a while; the connection ends without it.
        if self.connection is not None:
            asyncio.get_running_loop().call_soon(self.connection.closed)

    # ── called by requests ────────────────────────────────────────────────────────────────────────────────────────────

    async def wait(self, given_up: Callable[[], bool]) -> None:
        """Wait for news, for the end, for ``WAIT_SECONDS``, or until ``given_up``."""
        loop = asyncio.get_running_loop()
        end = loop.time() + WAIT_SECONDS
        while not (self.over or given_up() or self._has_news):
            changed = self._changed = loop.create_future()
            timer = loop.call_at(end, self.wake)
            try:
                await changed
            finally:
                timer.cancel()
                if self._changed is changed:  # else a newer request waits
                    self._changed = None
            if loop.time() >= end:
                break
            await asyncio.sleep(0)  # the messages of this turn of the loop go together

    @property
    def _has_news(self) -> bool:
        if self.ack:
            return bool(self._messages)
        # The welcome alone is an answer only if no topic was asked for.
        return len(self._messages) > (self._known or min(len(self.request.joins), 1))

    def take(self) -> bytes:
        """Return the next answer, and let the connection go on."""
        messages, self._messages, self._size = self._messages, [], 0
        self.ack += 1
        last = ";".join(entry(asked, position) for asked, position in self._at.values())
        head = f'{{"session":"{self.session}","ack":{self.ack},"last":"{last}","messages":['
        self.given = head.encode() + b",".join(messages) + b"]}"
        self.bytes_sent += len(self.given)
        if self._paused and self.connection is not None:
            self._paused = False
            self.connection.resumed()
        return self.given


class PollSession:
    """A polling connection between the requests that fetch from it."""

    __slots__ = ("connection", "expiry", "rate", "replaces", "requests", "transport")

    def __init__(self, transport: PollTransport, connection: Connection, rate: Bucket) -> None:
        self.transport = transport
        self.connection = connection
        self.rate = rate
        """The rate of its requests, which is that of the messages of a connection."""
        self.requests = 0
        """How many requests there were. Only the newest one is answered with messages."""
        self.expiry: asyncio.TimerHandle | None = None
        self.replaces: str | None = None
        """The session that its client had here before. It need not linger once this one has answered."""

    @property
    def client(self) -> tuple[str | None, str | None]:
        """The owner, and the id of the client. An anonymous client has no owner, and keeps its id to itself."""
        return self.connection.user_owner, self.transport.request.hello.payload.client

    def fits(self, identity: Identity, request: StreamRequest) -> bool:
        """Whether a request continues this connection: it is of the same owner and client, and names the same topics."""
        begun = self.transport.request
        return (
            self.connection.user_owner == identity.owner
            and begun.hello == request.hello
            and begun.topics == request.topics
        )


class LivePolling:
    """The ASGI application behind ``/live/poll``. ``service`` is called at each request.

    It keeps the connections that linger, by their session, which is a secret of the client.
    """

    def __init__(self, service: Callable[[], ConnectionManager]) -> None:
        self._service = service
        self._sessions: dict[str, PollSession] = {}
        self._newest: dict[tuple[str | None, str | None], str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await respond(scope, send, 405, "Messages are fetched by GET.\n", (b"allow", b"GET"))
            return
        handshake = Handshake(scope, send, PollTransport.name)
        query = QueryDict(scope.get("query_string", b""))
        polled = self._sessions.get(query.get("session", ""))
        if polled is not None:  # the request is no handshake, so no limit of handshakes counts it
            if wait := polled.rate.take(asyncio.get_running_loop().time()):
                await self._refuse(handshake, wait)
            else:
                await self._poll(query, None, handshake, receive)
            return
        admission = await admit(self._service().boundary, handshake)
        if admission is None:
            return
        try:
            await self._poll(query, admission, handshake, receive)
        finally:
            admission.end()  # unless a connection has it

    async def _refuse(self, handshake: Handshake, wait: float) -> None:
        """Answer a client that asks faster than it may send messages, before it is authenticated. Its session lingers on."""
        self._service().runtime.counters.messages_limited += 1
        handshake.report_limit("messages", wait)
        retry = (b"retry-after", str(math.ceil(wait)).encode())
        await respond(handshake.scope, handshake.send, 429, "Too many requests; ask again later.\n", retry)

    async def _poll(
        self, query: QueryDict, admission: Admission | None, handshake: Handshake, receive: Receive
    ) -> None:
        service, send = self._service(), handshake.send
        asked = await asked_by(service, handshake, query)
        if asked is None:
            return
        identity, request = asked
        polled = self._continued(query, identity, request)
        if polled is None:
            admission = admission or await admit(service.boundary, handshake)
            if admission is None:
                return
            resumes = bool(query.get("session"))
            try:
                await admission.identify(identity.owner)
                polled = await self._begin(service, identity, admission, request, resumes=resumes)
            finally:
                admission.end()  # unless a connection has it
        elif query.get("ack") != str(polled.transport.ack):
            await self._repeat(polled, send)
            return
        await self._answer(polled, receive, send)

    def _continued(self, query: QueryDict, identity: Identity, request: StreamRequest) -> PollSession | None:
        """Return the connection that the request continues. One that it cannot continue, although it knows the session, ends."""
        session, ack = query.get("session", ""), query.get("ack")
        polled = self._sessions.get(session)
        if polled is None:
            return None
        number = polled.transport.ack
        if polled.fits(identity, request) and ack in (str(number), str(number - 1)):
            if polled.expiry is not None:
                polled.expiry.cancel()
                polled.expiry = None
            return polled
        if polled.connection.user_owner == identity.owner:
            self._end(session)
        return None

    async def _begin(
        self,
        service: ConnectionManager,
        identity: Identity,
        admission: Admission,
        request: StreamRequest,
        *,
        resumes: bool,
    ) -> PollSession:
        """Begin a connection. ``resumes``: the client has had an answer before, of this process or of another one."""
        hub = await service.runtime.hub()
        transport = PollTransport(service.policy.write_buffer_bytes, request, resumes=resumes)
        connection = transport.connection = Connection(service, hub, transport, JSON, identity, admission)
        limits, now = service.policy.limits, asyncio.get_running_loop().time()
        polled = PollSession(transport, connection, Bucket(limits.burst, limits.messages_per_second, now))
        self._sessions[transport.session] = polled
        if request.hello.payload.client is not None:
            polled.replaces = self._newest.get(polled.client)
            self._newest[polled.client] = transport.session
        connection.start(request.hello, request.joins)
        if service.runtime.leaving:
            connection.shut_down()
        return polled

    async def _repeat(self, polled: PollSession, send: Send) -> None:
        """Give the last answer again: it was lost on its way."""
        polled.requests += 1
        polled.transport.wake()
        self._linger(polled)
        await respond_json(send, 200, polled.transport.given)

    async def _answer(self, polled: PollSession, receive: Receive, send: Send) -> None:
        transport = polled.transport
        polled.requests += 1
        number = polled.requests
        transport.wake()  # an older request that still waits: its client has given it up
        watch = asyncio.get_running_loop().create_task(client_gone(receive))
        watch.add_done_callback(lambda _: transport.wake())
        try:
            await transport.wait(lambda: watch.done() or polled.requests != number)
            gone = watch.done()
        finally:
            watch.cancel()
            if polled.requests == number:
                self._linger(polled)
        if polled.requests != number:
            await respond(
                _GET, send, 409, "A newer request of this session has taken the place of this one.\n"
            )
        elif not gone:
            if polled.replaces is not None:
                self._end_idle(polled.replaces)
                polled.replaces = None
            await respond_json(send, 200, transport.take())

    def _linger(self, polled: PollSession) -> None:
        """Close the connection unless the client asks again."""
        session = polled.transport.session
        if polled.expiry is not None:
            polled.expiry.cancel()
        polled.expiry = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end, session)

    def _end_idle(self, session: str) -> None:
        """End a session unless a request waits for it."""
        polled = self._sessions.get(session)
        if polled is not None and polled.expiry is not None:
            self._end(session)

    def _end(self, session: str) -> None:
        polled = self._sessions.pop(session, None)
        if polled is None:
            return
        if self._newest.get(polled.client) == session:
            del self._newest[polled.client]
        if polled.expiry is not None:
            polled.expiry.cancel()
        polled.transport.over = True
        polled.transport.wake()
        polled.connection.closed()


_GET = {"method": "GET"}
