"""Servers with connections, on one loop and one log, joined by an exchange: a fleet without sockets."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
from django.contrib.auth.models import AnonymousUser

from holdfast import Topic
from holdfast import runtime as runtimes
from holdfast.auth.base import Authenticator, AuthRequest, Identity
from holdfast.backplane.memory import MemoryExchange
from holdfast.connections.connection import Connection
from holdfast.connections.manager import ConnectionManager, Policy
from holdfast.hub.hub import Timing
from holdfast.limits.memory import MemoryLimiter
from holdfast.log.base import Log
from holdfast.log.memory import MemoryLog
from holdfast.protocol.codec import JSON
from holdfast.protocol.limits import Limits
from holdfast.runtime import Runtime
from holdfast.streams.prepared import Burst
from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads
from holdfast.topics.registry import Registry

from .clock import turns
from .hubs import Scripted

Frame = dict[str, Any]


class User:
    """A user with the attributes that connections need."""

    is_authenticated = True

    def __init__(self, pk: int) -> None:
        self.pk = pk


class Socket:
    """A transport that records what the server sends."""

    name: ClassVar = "test"
    duplex: ClassVar = True
    closed_by_server: ClassVar = True
    binary: ClassVar = False
    bytes_sent: ClassVar = None

    def __init__(self, connection_of: Any) -> None:
        self.frames: list[Frame] = []
        self.closed: int | None = None
        self.unwritable: bytes | None = None
        """A payload that this transport cannot write."""
        self.reports_blocking = False
        self.slowed: float | None = None
        self.connection: Connection = connection_of(self)

    def send(self, data: str | bytes) -> None:
        assert self.closed is None, f"{data!r} after the close"
        self.frames.append(json.loads(data))

    def send_events(self, burst: Burst) -> None:
        assert self.connection.ready
        for event in burst.events:
            if event.payload == self.unwritable:
                raise OverflowError("a number that this encoding has no room for")
            self.send(event.json)

    def probe(self) -> bool:
        return False

    def note_join(self, asked: str, topic: str, position: Any) -> None:
        pass

    def note_reset(self, topic: str, position: Any) -> None:
        pass

    def report_blocking(self) -> None:
        self.reports_blocking = True

    def slow_down(self, seconds: float) -> None:
        self.slowed = seconds

    def close(self, code: int, reason: str) -> None:
        self.closed = code

    # ── the client's side ────────────────────────────────────────────────────────────────────────────────────────────

    def say(self, **message: Any) -> None:
        self.connection.receive(json.dumps(message))

    async def hear(self) -> list[Frame]:
        """Return the frames since the last call."""
        await turns()
        frames, self.frames = self.frames, []
        return frames

    async def types(self) -> list[str]:
        return [frame["type"] for frame in await self.hear()]

    def ask_to_join(self, topic: str, ref: int = 1, **payload: Any) -> None:
        self.say(type="join", ref=ref, topic=topic, payload=payload)

    async def join(self, topic: str, ref: int = 1, **payload: Any) -> Frame:
        """Join, and return the answer."""
        self.ask_to_join(topic, ref, **payload)
        (answer,) = await self.hear()
        return answer

    def ask(self, topic: str, name: str, ref: int = 9, **arguments: Any) -> None:
        self.say(type="call", ref=ref, topic=topic, name=name, payload=arguments)


class Process:
    """One server."""

    def __init__(self, fleet: "Fleet", policy: Policy, threads: int) -> None:
        self.fleet = fleet
        self.log_threads = Scripted()
        self.runtime = Runtime(
            log=fleet.log,
            backplane=fleet.exchange.backplane(),
            threads=Threads(threads),
            log_threads=self.log_threads,  # type: ignore[arg-type]  # it runs work as threads do
            timing=fleet.timing,
        )
        self.service = ConnectionManager(
            runtime=self.runtime,
            registry=fleet.registry,
            limiter=MemoryLimiter(),
            policy=policy,
            authenticator=Registrar(fleet, self.runtime),
        )

    async def connect(
        self, user: User | None = None, client: str | None = None, session: str | None = None
    ) -> Socket:
        hub = await self.runtime.hub()
        socket = Socket(lambda sink: Connection(self.service, hub, sink, JSON, identity_of(user, session)))
        socket.say(type="hello", payload={} if client is None else {"client": client})
        await socket.hear()
        return socket

    async def stop(self) -> None:
        await self.runtime.stop()


class Fleet:
    """The servers, and the facts that all of them share: ``gone`` users, ended ``sessions``, and the user of each token."""

    def __init__(
        self, topics: Sequence[type[Topic]], *, log: Log | None = None, timing: Timing | None = None
    ) -> None:
        self.log = log or MemoryLog()
        self.timing = timing or Timing(patience=0)
        self.exchange = MemoryExchange()
        self.registry = Registry()
        self.registry.register(*topics)
        self.processes: list[Process] = []
        self.tokens: dict[str, Any] = {}
        self.gone: set[int] = set()
        self.ended: set[str] = set()
        self.identified: list[Identity] = []
        self.broken: Exception | None = None
        self.unreadable: dict[int, Exception] = {}
        """Errors of a whole group read that contains one of these users."""

    def identify(self, identities: Sequence[Identity]) -> list[Identity | Exception | None]:
        self.identified += identities
        if self.broken is not None:
            raise self.broken
        for each in identities:
            if each.user.pk in self.unreadable:
                raise self.unreadable[each.user.pk]
        return [
            None
            if each.user.pk in self.gone or each.session_key in self.ended
            else msgspec.structs.replace(each, user=type(each.user)(each.user.pk))
            for each in identities
        ]

    async def process(self, *, threads: int = 1, start: bool = True, **policy: Any) -> Process:
        # No connection is closed for its silence while the clock jumps.
        policy.setdefault("limits", Limits(heartbeat=1e9))
        made = Process(self, Policy(**policy), threads)
        if start:
            await made.runtime.hub()
        self.processes.append(made)
        return made


def identity_of(user: Any, session: str | None = None) -> Identity:
    """The identity of a user, or of an anonymous client for ``None``."""
    return Identity(user=AnonymousUser() if user is None else user, session_key=session)


class Registrar(Authenticator):
    """Authenticates by the facts of a fleet; reads them in one server's worker threads, as users are read."""

    def __init__(self, fleet: Fleet, runtime: Runtime) -> None:
        self._fleet, self._runtime = fleet, runtime

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        if request.token is None:  # a handshake
            return request.identify(request.user)
        found = self._fleet.tokens.get(request.token)
        if isinstance(found, Identity) or found is None:
            return found
        return request.identify(found)

    async def revalidate(self, identities: Sequence[Identity]) -> list[Identity | Exception | None]:
        return await self._runtime.threads.handle(HandlerInfo(), self._fleet.identify, identities)


@asynccontextmanager
async def fleet(*topics: type[Topic], count: int = 1, **options: Any) -> AsyncIterator[Fleet]:
    """A fleet of ``count`` servers, of which the first is where code runs that publishes and evicts."""
    made = Fleet(topics, **{name: options.pop(name) for name in ("log", "timing") if name in options})
    for _ in range(count):
        await made.process(**options)
    with runtimes.using(made.processes[0].runtime):
        yield made
    for process in made.processes:
        await process.stop()
