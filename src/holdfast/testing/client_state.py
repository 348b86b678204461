"""State of a live client: what a browser client keeps, and everything that it has received, for the test."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import msgspec
from django.conf import settings
from django.contrib.auth.models import AnonymousUser

from holdfast.auth import session_store as sessions
from holdfast.auth.base import Identity
from holdfast.connections.connection import Connection
from holdfast.protocol import codec, codes, frames
from holdfast.protocol.construction import shortened
from holdfast.protocol.positions import Position
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.client_id import client_id
from holdfast.topics.owner import key_text
from holdfast.topics.presence import Member
from holdfast.topics.topic import Topic
from holdfast.topics.versions import PARAMETER, written

from .environment import Environment
from .errors import Disconnected, LiveError
from .event_inbox import EventInbox
from .in_memory_transport import InMemoryTransport
from .members import MemberList
from .values import CloseNotice, LeftNotice, Received, ResetNotice

T = TypeVar("T")

ANSWER_WITHIN = 5.0
"""Seconds that the answer to a join or a call may take."""

Notice = ResetNotice | LeftNotice | CloseNotice


class PendingRequest(msgspec.Struct):
    """A message to the server that waits for its answer. ``since`` is the position of a join."""

    answer: asyncio.Future[frames.Outbound]
    since: Position | None = None


class ClientState:
    """A client's connection, id, positions and topics, and all messages that it has received."""

    def __init__(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        browser: Any = None,
        host: str | None = None,
        versions: Mapping[str, int] | None = None,
    ) -> None:
        if browser is not None and not (user is None and token is None):
            raise TypeError(
                "LiveClient: a browser brings its own user: leave out user and token, or leave out browser"
            )
        if user is not None and not isinstance(user, Identity) and not hasattr(user, "is_authenticated"):
            raise TypeError(
                f"LiveClient({shortened(user)}): this is not a user; give a user, such as User.objects.get(username=…), or leave it "
                "out for a client that is not signed in"
            )
        self._place: Environment | None = None
        self._facts = user if isinstance(user, Identity) else Identity(user=None, host=host)
        self._user = user if self._facts is not user else _signed_in(user.user)
        self._token = token
        self._browser = browser
        self._host = host
        self._versions = versions
        self._id = secrets.token_hex(8)
        self._transport: InMemoryTransport | None = None
        self._inbox = EventInbox()
        self._notices: list[Notice] = []
        self._closed: CloseNotice | None = None
        self._goodbye: frames.GoodbyePayload | None = None
        self._welcome: asyncio.Future[frames.WelcomePayload] | None = None
        self._requests: dict[int, PendingRequest] = {}
        self._refs = 0
        self._keys = 0
        self._topics: dict[str, None] = {}  # joined, or to be joined by resume(): canonical names in order
        self._known: dict[str, Topic] = {}  # every topic that was ever joined
        self._positions: dict[str, Position] = {}
        self._present: dict[str, MemberList] = {}
        self._changed = asyncio.Event()

    # ── inspecting ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def id(self) -> str:
        """The client's public id, as ``caller.client`` has it. ``exclude=`` takes it."""
        return client_id(self._user, self._id)

    @property
    def unread(self) -> tuple[Received, ...]:
        """The events that have arrived and were not expected yet, in the order of their arrival."""
        return tuple(self._inbox.unread)

    @property
    def received(self) -> tuple[Received, ...]:
        """Every event that has ever arrived, in the order of arrival, duplicates included."""
        return tuple(self._inbox.received)

    @property
    def connected(self) -> bool:
        """Is the client connected?"""
        return self._transport is not None and self._closed is None

    def position(self, topic: Topic | str) -> Position | None:
        """Return the position up to which this client has received a durable topic, from which it would resume.

        Events count whether the test expected them or not.
        """
        return self._positions.get(self._canonical(topic))

    def members(self, topic: Topic | str) -> list[Member]:
        """Return the members of a joined topic that this client knows."""
        return list((self._present[self._joined(topic).name].members or {}).values())

    def member_count(self, topic: Topic | str) -> int | None:
        """Return the number of members of a joined topic; ``None`` if the client does not know it."""
        return self._present[self._joined(topic).name].count

    # ── connecting ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _environment(self) -> Environment:
        if self._place is None:
            raise RuntimeError(f"{self} has not been opened: use it in a with block, or open() it")
        return self._place

    async def _connect(self) -> None:
        environment = self._environment
        await environment.start(self)
        service = environment.service
        hub = await service.runtime.hub()
        self._closed = self._goodbye = None
        self._requests.clear()
        self._welcome = asyncio.get_running_loop().create_future()
        self._transport = transport = InMemoryTransport(
            self._take, self._ended, service.policy.write_buffer_bytes
        )
        key = None
        if self._browser is not None:
            info = HandlerInfo(host=self._host)
            key = await service.runtime.threads.handle(info, self._find_session)
        transport.connection = Connection(service, hub, transport, codec.JSON, self._identity(key))
        transport.write(frames.HelloFrame(payload=frames.HelloPayload(client=self._id, token=self._token)))
        await self._answer(self._welcome, f"the hello of {self}", ANSWER_WITHIN)

    def _identity(self, session_key: str | None) -> Identity:
        user = AnonymousUser() if self._user is None else self._user
        query = self._facts.query_string
        if PARAMETER not in query:
            versions = (
                self._environment.service.registry.versions if self._versions is None else self._versions
            )
            query = f"{query}&{PARAMETER}={written(versions)}" if versions else query
        return msgspec.structs.replace(
            self._facts, user=user, session_key=session_key, query_string=query.lstrip("&")
        )

    def _find_session(self) -> str | None:
        """Do what a handshake with the browser's cookie does: set the user, and return the key of the session."""
        cookie = self._browser.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is None or not cookie.value:
            self._user = None
            return None
        (found,) = sessions.find([cookie.value])
        if isinstance(found, Exception):
            raise found
        self._user = _signed_in(found.user)
        return None if self._user is None else str(cookie.value)

    def disconnect(self) -> None:
        """Drop the connection, if there is one."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.drop()
        dropped = CloseNotice(code="dropped", close=1006, message="The test dropped the connection.")
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_exception(self._disconnected("the answer", self._closed or dropped))
        self._requests.clear()

    def _end(self) -> bool:
        """Disconnect for good; return whether the environment has to be stopped, too."""
        self.disconnect()
        return self._place is not None and self._place.release(self)

    async def drop(self) -> None:
        """Lose the connection, as in a tunnel: the server notices, and no close frame is exchanged.

        Positions and unread events stay.
        """
        self._transport_or_raise("drop()")
        await self._environment.settle()
        self.disconnect()
        await asyncio.sleep(0)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(
        self,
        frame: Callable[[int], frames.Inbound],
        what: str,
        within: float,
        error: type[LiveError],
        *,
        since: Position | None = None,
    ) -> frames.Outbound:
        transport = self._transport_or_raise(what)
        if not transport.reading:
            raise RuntimeError(
                f"{what}: {self} reads nothing since stall(), so no answer can arrive; call read() first"
            )
        await self._environment.settle()
        self._refs += 1
        ref = self._refs
        request = PendingRequest(asyncio.get_running_loop().create_future(), since)
        self._requests[ref] = request
        logged = len(self._environment.log_capture.records)
        transport.write(frame(ref))
        try:
            answer = await self._answer(request.answer, what, within)
        finally:
            self._requests.pop(ref, None)
        if isinstance(answer, frames.ErrorFrame):
            self._raise(error.of(what, answer.payload), logged)
        return answer

    def _raise(self, error: LiveError, logged: int) -> NoReturn:
        """Raise an error, with what the server logged about it. A real client does not see the log."""
        cause: BaseException | None = None
        if error.code in (codes.INTERNAL.name, codes.UNAVAILABLE.name):
            for record in self._environment.log_capture.records[logged:]:
                error.add_note(f"The server logged: {record.getMessage()}")
                if record.exc_info:
                    cause = record.exc_info[1]
        raise error from cause

    async def _answer(self, future: "asyncio.Future[T]", what: str, within: float) -> T:
        done, _ = await asyncio.wait([future], timeout=within)
        if not done:
            raise TimeoutError(f"{what}: no answer within {within:g} s")
        return future.result()

    # ── receiving ────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, frame: frames.Outbound) -> None:
        match frame:
            case frames.EventFrame():
                self._take_event(frame)
            case frames.JoinedFrame():
                self._take_joined(frame)
                self._resolve(frame.ref, frame)
            case frames.ResultFrame():
                self._resolve(frame.ref, frame)
            case frames.ErrorFrame():
                self._resolve(frame.ref, frame)
            case frames.LeftFrame():
                self._topics.pop(frame.topic, None)
                if frame.ref is not None:
                    self._resolve(frame.ref, frame)
                else:
                    code, reason = (
                        ("", None) if frame.payload is None else (frame.payload.code, frame.payload.reason)
                    )
                    self._notices.append(LeftNotice(topic=frame.topic, code=code, reason=reason))
            case frames.ResetFrame():
                position = position_of(frame.payload)
                if position is not None:
                    self._positions[frame.topic] = position
                self._notices.append(
                    ResetNotice(topic=frame.topic, reason=frame.payload.reason, position=position)
                )
            case frames.PresenceFrame():
                self._present[frame.topic].take(frame)
            case frames.WelcomeFrame():
                if self._welcome is not None and not self._welcome.done():
                    self._welcome.set_result(frame.payload)
            case frames.GoodbyeFrame():
                self._goodbye = frame.payload
            case frames.PongFrame():
                pass
        self._changed.set()

    def _take_event(self, frame: frames.EventFrame) -> None:
        raw = bytes(frame.payload)
        payload = msgspec.json.decode(raw)
        self._inbox.add(
            Received(topic=frame.topic, name=frame.name, offset=frame.offset, payload=payload, raw=raw)
        )
        at = self._positions.get(frame.topic)
        if frame.offset is not None and at is not None:
            self._positions[frame.topic] = max(
                at,
                Position(epoch=at.epoch, offset=frame.offset, stamp=frame.stamp),
                key=lambda position: position.offset,
            )

    def _take_joined(self, frame: frames.JoinedFrame) -> None:
        topic = self._environment.service.registry.by_name(frame.topic)
        request = self._requests.get(frame.ref)
        assert topic is not None, (
            f"the server joined a client to {frame.topic!r}, which matches no topic's route"
        )
        self._known[frame.topic] = topic
        self._topics[frame.topic] = None
        self._present.setdefault(frame.topic, MemberList()).begin(frame.payload)
        position = position_of(frame.payload)
        if request is not None and frame.payload.recovered:
            position = request.since
        if position is not None:
            self._positions[frame.topic] = position

    def _resolve(self, ref: int | None, frame: frames.Outbound) -> None:
        request = self._requests.get(-1 if ref is None else ref)
        if request is not None and not request.answer.done():
            request.answer.set_result(frame)

    def _ended(self, close: int, message: str) -> None:
        code, reason = ("", None) if self._goodbye is None else (self._goodbye.code, self._goodbye.reason)
        self._closed = CloseNotice(code=code, close=close, message=message, reason=reason)
        self._notices.append(self._closed)
        error = self._disconnected("the answer", self._closed)
        futures: list[asyncio.Future[Any]] = [request.answer for request in self._requests.values()]
        if self._welcome is not None:
            futures.append(self._welcome)
        for future in futures:
            if not future.done():
                future.set_exception(error)
        self._changed.set()

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _canonical(self, topic: Topic | str) -> str:
        """Return the canonical name of a topic that has another name for this user (``<me>``)."""
        name = str(topic)
        if name in self._known:
            return name
        registry = self._environment.service.registry
        found = registry.resolve(
            name, key_text(self._user.pk) if getattr(self._user, "pk", None) is not None else None
        )
        return name if found is None else found.name

    def _joined(self, topic: Topic | str) -> Topic:
        found = self._known.get(self._canonical(topic))
        if found is None:
            joined = ", ".join(self._known) or "nothing"
            raise ValueError(f"{self} has not joined {topic}; it has joined {joined}")
        return found

    def _transport_or_raise(self, what: str) -> InMemoryTransport:
        if self._transport is None or self._closed is not None:
            if self._closed is not None:
                raise self._disconnected(what, self._closed)
            raise self._disconnected(
                what,
                CloseNotice(
                    code="dropped", close=1006, message="There is no connection; open or resume() it first."
                ),
            )
        return self._transport

    def _disconnected(self, what: str, closed: CloseNotice) -> Disconnected:
        return Disconnected(f"{what} for {self}", code=closed.code, message=closed.message)

    def __str__(self) -> str:
        name = "anonymous" if self._user is None else str(self._user)
        return name if self._token is None else f"holder of token {self._token!r}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self} {'connected' if self.connected else 'not connected'}>"


def position_of(payload: frames.JoinedPayload | frames.ResetPayload) -> Position | None:
    """The position that a message names, if its topic has any."""
    if payload.epoch is None or payload.offset is None:
        return None
    return Position(epoch=payload.epoch, offset=payload.offset, stamp=payload.stamp)


def _signed_in(user: Any) -> Any:
    return user if user.is_authenticated else None
