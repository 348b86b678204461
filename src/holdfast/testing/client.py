"""A live client: the other end of a connection, with what a browser client keeps and what a test wants to know."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar, overload

import msgspec

from holdfast.connections.connection import Connection
from holdfast.protocol import codec, codes, frames
from holdfast.protocol.positions import Position
from holdfast.topics.event import Event
from holdfast.topics.topic import Topic

from .environment import Environment
from .errors import CallError, Disconnected, JoinError, LiveError
from .inbox import Inbox, Mismatch, wanted
from .line import Line
from .values import Closed, Joined, Left, Received, Reset

E = TypeVar("E", bound=Event)
N = TypeVar("N", Reset, Left, Closed)
T = TypeVar("T")

ANSWER_WITHIN = 5.0
"""Seconds that a join or a call may take."""

EVENT_WITHIN = 1.0
"""Seconds in which an expected event has to come."""

NOTHING_WITHIN = 0.05
"""Seconds in which nothing may come where nothing is expected. What is published in the test's own process needs far
less."""

Notice = Reset | Left | Closed


class Request(msgspec.Struct):
    """A message that waits for its answer. ``since`` is the position of a join."""

    answer: asyncio.Future[frames.Outbound]
    since: Position | None = None


class Client:
    """The methods of ``AsyncLiveClient``, which ``LiveClient`` has too, without the ``await``."""

    def __init__(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        self._place: Environment | None = None
        self._user = user
        self._token = token
        self._scope = scope
        self._id = secrets.token_hex(8)
        self._line: Line | None = None
        self._inbox = Inbox()
        self._notices: list[Notice] = []
        self._closed: Closed | None = None
        self._goodbye: frames.GoodbyePayload | None = None
        self._welcome: asyncio.Future[frames.WelcomePayload] | None = None
        self._requests: dict[int, Request] = {}
        self._refs = 0
        self._keys = 0
        self._topics: dict[str, None] = {}  # what is joined, by canonical name, in the order of joining
        self._known: dict[str, Topic] = {}  # what was ever joined
        self._positions: dict[str, Position] = {}
        self._changed = asyncio.Event()

    # ── what there is to look at ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def id(self) -> str:
        """The client's id, which it keeps across connections: what ``exclude=`` goes by."""
        return self._id

    @property
    def unread(self) -> tuple[Received, ...]:
        """The events that have come and were not expected yet, in the order in which they came."""
        return tuple(self._inbox.unread)

    @property
    def received(self) -> tuple[Received, ...]:
        """Every event that has ever come, in the order in which they came; doubles too."""
        return tuple(self._inbox.received)

    @property
    def connected(self) -> bool:
        """Is there a connection?"""
        return self._line is not None and self._closed is None

    def position(self, topic: Topic | str) -> Position | None:
        """Up to where this client has seen a durable topic, whether the test expected it or not: what it resumes from."""
        return self._positions.get(self._canonical(topic))

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
        self._line = line = Line(self._take, self._ended, service.policy.write_buffer_bytes)
        line.connection = Connection(service, hub, line, codec.JSON, user=self._user, scope=self._scope)
        line.write(frames.Hello(payload=frames.HelloPayload(client=self._id, token=self._token)))
        await self._answer(self._welcome, f"the hello of {self}", ANSWER_WITHIN)

    def disconnect(self) -> None:
        """Break the connection, if there is one."""
        line, self._line = self._line, None
        if line is not None:
            line.drop()
        dropped = Closed(code="dropped", close=1006, message="The test dropped the connection.")
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_exception(self._disconnected("the answer", self._closed or dropped))
        self._requests.clear()

    def _end(self) -> bool:
        """Disconnect for good; say whether the environment is to be stopped as well."""
        self.disconnect()
        return self._place is not None and self._place.release(self)

    async def drop(self) -> None:
        """Lose the connection, as in a tunnel: the server notices, nothing is said. Positions and unread events stay."""
        self._line_or_raise("drop()")
        await self._environment.settle()
        self.disconnect()
        await asyncio.sleep(0)

    async def resume(self) -> dict[str, Joined]:
        """Come back as the same client and join everything that was joined, each topic from its position.

        Return the answers by topic. Raises :class:`JoinError` for a topic that does not admit the user any more; what
        comes after it is not joined then.
        """
        if self.connected:
            raise RuntimeError(f"{self} is connected; drop() it before you resume()")
        self.disconnect()
        topics, self._topics = self._topics, {}
        await self._connect()
        return {name: await self.join(name, since=self._positions.get(name)) for name in topics}

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def join(
        self, topic: Topic | str, *, since: Position | None = None, within: float = ANSWER_WITHIN
    ) -> Joined:
        """Subscribe to a topic, from ``since`` if that is given, else from now.

        Raises :class:`JoinError` when it is refused, with the code ``"forbidden"`` where there is no such topic or its
        ``may_join`` says no.
        """
        name = str(topic)
        what = f"join of {name} by {self}"
        answer = await self._ask(
            lambda ref: frames.Join(ref=ref, topic=name, payload=frames.JoinPayload(since=since)),
            what,
            within,
            JoinError,
            since=since,
        )
        assert isinstance(answer, frames.Joined)
        payload = answer.payload
        return Joined(
            topic=answer.topic,
            position=_position(payload.epoch, payload.offset),
            recovered=payload.recovered,
            snapshot=None if payload.snapshot is msgspec.UNSET else msgspec.json.decode(payload.snapshot),
        )

    async def leave(self, topic: Topic | str) -> None:
        """End a subscription. Raises :class:`LiveError` (``not_joined``) if there is none."""
        name = str(topic)
        await self._ask(
            lambda ref: frames.Leave(ref=ref, topic=name),
            f"leave of {name} by {self}",
            ANSWER_WITHIN,
            LiveError,
        )

    async def call(
        self,
        topic: Topic | str,
        action: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        key: str | None = None,
        within: float = ANSWER_WITHIN,
        **more: Any,
    ) -> Any:
        """Call an action of a joined topic and return its result, as JSON reads it.

        Arguments are given by name, or in a dict where a name is ``key`` or ``within``. Every call has a key of its own,
        as in a browser; with ``key`` an earlier call can be repeated, and gets its first answer. Raises
        :class:`CallError`.
        """
        name = str(topic)
        payload = msgspec.Raw(msgspec.json.encode({**(arguments or {}), **more}))
        if key is None:
            self._keys += 1
            key = f"{self._id}-{self._keys}"
        answer = await self._ask(
            lambda ref: frames.Call(topic=name, name=action, ref=ref, key=key, payload=payload),
            f"call of {action} on {name} by {self}",
            within,
            CallError,
        )
        assert isinstance(answer, frames.Result)
        return msgspec.json.decode(answer.payload)

    async def _ask(
        self,
        frame: Callable[[int], frames.Inbound],
        what: str,
        within: float,
        error: type[LiveError],
        *,
        since: Position | None = None,
    ) -> frames.Outbound:
        line = self._line_or_raise(what)
        if not line.reading:
            raise RuntimeError(
                f"{what}: {self} reads nothing since stall(), so no answer can come; read() first"
            )
        await self._environment.settle()
        self._refs += 1
        ref = self._refs
        request = Request(asyncio.get_running_loop().create_future(), since)
        self._requests[ref] = request
        logged = len(self._environment.complaints.records)
        line.write(frame(ref))
        try:
            answer = await self._answer(request.answer, what, within)
        finally:
            self._requests.pop(ref, None)
        if isinstance(answer, frames.Error):
            self._raise(error.of(what, answer.payload), logged)
        return answer

    def _raise(self, error: LiveError, logged: int) -> NoReturn:
        """Raise an error together with what the server logged about it, which no client would get to see."""
        cause: BaseException | None = None
        if error.code in (codes.INTERNAL.name, codes.UNAVAILABLE.name):
            for record in self._environment.complaints.records[logged:]:
                error.add_note(f"The server logged: {record.getMessage()}")
                if record.exc_info:
                    cause = record.exc_info[1]
        raise error from cause

    async def _answer(self, future: "asyncio.Future[T]", what: str, within: float) -> T:
        done, _ = await asyncio.wait([future], timeout=within)
        if not done:
            raise TimeoutError(f"{what}: no answer within {within:g} s")
        return future.result()

    # ── expecting ────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    async def expect(
        self,
        event: type[E],
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = EVENT_WITHIN,
        **more: Any,
    ) -> E: ...

    @overload
    async def expect(
        self,
        event: str,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = EVENT_WITHIN,
        **more: Any,
    ) -> Any: ...

    async def expect(
        self,
        event: str | type[Event],
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = EVENT_WITHIN,
        **more: Any,
    ) -> Any:
        """Take the next event of this name (or class), on ``topic`` or on any, and return it as an instance of its class.

        It may have come already, or comes within ``within`` seconds. It must have the given values in the given fields;
        a field named ``topic`` or ``within`` is given in the dict. Events of other names stay for later expectations.
        Raises ``AssertionError``, which says what came instead, when the *next* event of this name is another one, or
        none comes.
        """
        expected = self._wanted(event, {**(fields or {}), **more}, topic)
        await self._prepare("expect")
        try:
            found = await self._until(lambda: self._inbox.take(expected), within)
        except Mismatch as mismatch:
            raise AssertionError(await self._story(str(mismatch))) from None
        if found is None:
            raise AssertionError(await self._story(f"no event {expected} came within {within:g} s"))
        return found

    async def expect_nothing(
        self,
        event: str | type[Event] | None = None,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = NOTHING_WITHIN,
        **more: Any,
    ) -> None:
        """Fail, with ``AssertionError``, if there is an unread event or one comes within ``within`` seconds.

        With a name (or class) and values only such an event counts, with ``topic`` only one of that topic.
        """
        values = {**(fields or {}), **more}
        if event is None and values:
            raise TypeError(f"expect_nothing({', '.join(values)}): name the event that has these fields")
        expected = None if event is None else self._wanted(event, values, topic)
        place = None if topic is None else self._joined(topic).name
        await self._prepare("expect_nothing")

        def look() -> Received | None:
            if expected is not None:
                return self._inbox.find(expected)
            return next((r for r in self._inbox.unread if place in (None, r.topic)), None)

        found = await self._until(look, within)
        if found is not None:
            nothing = "nothing" if expected is None else f"no {expected}"
            raise AssertionError(await self._story(f"expected {nothing}, but there is {found}"))

    async def expect_reset(
        self, topic: Topic | str, reason: str | None = None, *, within: float = EVENT_WITHIN
    ) -> Reset:
        """Take the next ``reset`` of a topic: its stream could not be continued without a hole. ``reason`` is
        ``"trimmed"``, ``"epoch"`` or ``"interrupted"``."""
        name = self._joined(topic).name
        found = await self._notice(Reset, name, f"reset of {name}", within)
        if reason not in (None, found.reason):
            raise AssertionError(
                self._story(f"expected a reset for the reason {reason!r}, but there is a {found}")
            )
        return found

    async def expect_left(self, topic: Topic | str, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server ends the subscription to a topic; return the code, such as ``"forbidden"``."""
        name = self._joined(topic).name
        return (await self._notice(Left, name, f"end of {name}", within)).code

    async def expect_closed(self, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server closes the connection; return the code, such as ``"disconnected"``."""
        return (await self._notice(Closed, "", "close", within)).code

    async def _notice(self, kind: type[N], topic: str, what: str, within: float) -> N:
        await self._prepare(f"expect the {what}")

        def take() -> N | None:
            for notice in self._notices:
                if isinstance(notice, kind) and getattr(notice, "topic", "") == topic:
                    self._notices.remove(notice)
                    return notice
            return None

        found = await self._until(take, within)
        if found is None:
            raise AssertionError(await self._story(f"no {what} came within {within:g} s"))
        return found

    async def _prepare(self, what: str) -> None:
        if self._line is not None and not self._line.reading:
            raise RuntimeError(f"{what}: {self} reads nothing since stall(); read() first")
        await self._environment.settle()

    async def _until(self, look: Callable[[], T | None], within: float) -> T | None:
        """What ``look`` finds, as soon as it does; ``None`` after ``within`` seconds or when nothing can come."""
        deadline = asyncio.get_running_loop().time() + within
        while (found := look()) is None and self.connected:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                break
        if found is None:
            await self._environment.settle()  # of what was done meanwhile, by other tasks of the test
            for _ in range(3):
                await asyncio.sleep(0)
            found = look()
        return found

    # ── reading slowly ───────────────────────────────────────────────────────────────────────────────────────────────

    async def stall(self) -> None:
        """Read nothing from now on: the connection sees a client whose buffers are full."""
        self._line_or_raise("stall()").stall()

    async def read(self) -> int:
        """Read what has waited and go on reading; return how many messages the server had written meanwhile.

        What it held back meanwhile comes afterwards, as the topic has it.
        """
        line = self._line_or_raise("read()")
        await self._environment.settle()
        for _ in range(3):
            await asyncio.sleep(0)  # let what was just published get as far as it can
        return line.read()

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, frame: frames.Outbound) -> None:
        match frame:
            case frames.Event():
                self._take_event(frame)
            case frames.Joined():
                self._take_joined(frame)
                self._resolve(frame.ref, frame)
            case frames.Result():
                self._resolve(frame.ref, frame)
            case frames.Error():
                self._resolve(frame.ref, frame)
            case frames.Left():
                self._topics.pop(frame.topic, None)
                if frame.ref is not None:
                    self._resolve(frame.ref, frame)
                else:
                    code = frame.payload.code if frame.payload is not None else ""
                    self._notices.append(Left(topic=frame.topic, code=code))
            case frames.Reset():
                position = _position(frame.payload.epoch, frame.payload.offset)
                if position is not None:
                    self._positions[frame.topic] = position
                self._notices.append(Reset(topic=frame.topic, reason=frame.payload.reason, position=position))
            case frames.Welcome():
                if self._welcome is not None and not self._welcome.done():
                    self._welcome.set_result(frame.payload)
            case frames.Goodbye():
                self._goodbye = frame.payload
            case frames.Pong():
                pass
        self._changed.set()

    def _take_event(self, frame: frames.Event) -> None:
        raw = bytes(frame.payload)
        payload = msgspec.json.decode(raw)
        self._inbox.add(
            Received(topic=frame.topic, name=frame.name, offset=frame.offset, payload=payload, raw=raw)
        )
        at = self._positions.get(frame.topic)
        if frame.offset is not None and at is not None:
            self._positions[frame.topic] = Position(epoch=at.epoch, offset=max(at.offset, frame.offset))

    def _take_joined(self, frame: frames.Joined) -> None:
        topic = self._environment.service.registry.by_name(frame.topic)
        request = self._requests.get(frame.ref)
        assert topic is not None, (
            f"the server let a client into {frame.topic!r}, which no topic's route matches"
        )
        self._known[frame.topic] = topic
        self._topics[frame.topic] = None
        position = _position(frame.payload.epoch, frame.payload.offset)
        if request is not None and frame.payload.recovered:
            position = request.since
        if position is not None:
            self._positions[frame.topic] = position

    def _resolve(self, ref: int | None, frame: frames.Outbound) -> None:
        request = self._requests.get(-1 if ref is None else ref)
        if request is not None and not request.answer.done():
            request.answer.set_result(frame)

    def _ended(self, close: int, message: str) -> None:
        code = self._goodbye.code if self._goodbye is not None else ""
        self._closed = Closed(code=code, close=close, message=message)
        self._notices.append(self._closed)
        error = self._disconnected("the answer", self._closed)
        futures: list[asyncio.Future[Any]] = [request.answer for request in self._requests.values()]
        if self._welcome is not None:
            futures.append(self._welcome)
        for future in futures:
            if not future.done():
                future.set_exception(error)
        self._changed.set()

    # ── names and words ──────────────────────────────────────────────────────────────────────────────────────────────

    def _wanted(self, event: Any, fields: Mapping[str, Any], topic: Topic | str | None) -> Any:
        topics = self._known.values() if topic is None else [self._joined(topic)]
        return wanted(event, fields, topics, who=str(self))

    def _canonical(self, topic: Topic | str) -> str:
        """The canonical name of a topic that goes by another name for this user (``<me>``)."""
        name = str(topic)
        if name in self._known:
            return name
        registry = self._environment.service.registry
        found = registry.resolve(
            name, str(self._user.pk) if getattr(self._user, "pk", None) is not None else None
        )
        return name if found is None else found.name

    def _joined(self, topic: Topic | str) -> Topic:
        found = self._known.get(self._canonical(topic))
        if found is None:
            joined = ", ".join(self._known) or "nothing"
            raise ValueError(f"{self} has not joined {topic}; it has joined {joined}")
        return found

    def _line_or_raise(self, what: str) -> Line:
        if self._line is None or self._closed is not None:
            if self._closed is not None:
                raise self._disconnected(what, self._closed)
            raise self._disconnected(
                what,
                Closed(
                    code="dropped", close=1006, message="There is no connection; open or resume() it first."
                ),
            )
        return self._line

    def _disconnected(self, what: str, closed: Closed) -> Disconnected:
        return Disconnected(f"{what} for {self}", code=closed.code, message=closed.message)

    async def _story(self, failure: str) -> str:
        """What a failed expectation tells its reader."""
        lines = [f"{self}: {failure}.", *self._inbox.lines()]
        lines += [f"Also: {notice}." for notice in self._notices]
        if not self.connected and self._closed is None:
            lines.append("Also: the test dropped the connection, and has not resumed it.")
        if await self._environment.held_back():
            lines.append(
                "Also: the test has a transaction.atomic() open; what is published in it is delivered after its end."
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        name = "anonymous" if self._user is None else str(self._user)
        return name if self._token is None else f"holder of token {self._token!r}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self} {'connected' if self.connected else 'not connected'}>"


def _position(epoch: str | None, offset: int | None) -> Position | None:
    return None if epoch is None or offset is None else Position(epoch=epoch, offset=offset)
