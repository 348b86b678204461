"""Hubs on one loop, joined by an exchange, with a log and threads that follow a script."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from holdfast.backplane.memory import MemoryExchange
from holdfast.hub.hub import Hub, Timing
from holdfast.hub.publisher import Publisher
from holdfast.hub.snapshots import Snapshot, State
from holdfast.log.base import Draft, Log
from holdfast.log.memory import MemoryLog
from holdfast.presence.base import PresenceStore
from holdfast.protocol.frames import JoinedPayload, ResetFrame
from holdfast.protocol.positions import Position
from holdfast.streams.prepared import Burst
from holdfast.streams.slow import Slow
from holdfast.streams.stream import Subscription

P = ParamSpec("P")
T = TypeVar("T")

TOPIC = "rooms/lobby"


class Listener:
    """A subscriber that records what it is given. ``room`` is the number of events that fit before it is not ready."""

    def __init__(self, client: str = "", room: int | None = None) -> None:
        self.client = client
        self.ready = True
        self.blocked = False
        self.room = room
        self._heard: list[str] = []
        self._offsets: list[int] = []
        self.resets: list[tuple[str, str | None, int | None]] = []
        self.joined: JoinedPayload | None = None
        self.failed = False
        self.overflowed = False
        self.subscription: Subscription | None = None

    @property
    def heard(self) -> list[str]:
        """Return what the listener has got by the end of the turn of the loop."""
        self._settle()
        return self._heard

    @property
    def offsets(self) -> list[int]:
        self._settle()
        return self._offsets

    def _settle(self) -> None:
        if self.subscription is not None:
            self.subscription.stream.flush()

    def write(self, burst: Burst) -> None:
        assert self.ready, "events were written to an outlet that is not ready"
        assert burst.events, "a write of nothing"
        for event in burst.events:
            self._heard.append(event.payload.decode())
            if event.offset is not None:
                self._offsets.append(event.offset)
        if self.room is not None:
            self.room -= len(burst.events)
            self.ready = self.room > 0

    def write_reset(self, reset: ResetFrame) -> None:
        payload = reset.payload
        self.resets.append((payload.reason, payload.epoch, payload.offset))

    def fail(self) -> None:
        self.failed = True

    def overflow(self) -> None:
        self.overflowed = True

    def announce(self, payload: JoinedPayload) -> bool:
        assert not self._offsets, "joined comes before the events"
        self.joined = payload
        return True


class Scripted:
    """Threads that run the work in the caller's thread, and hand over the result when the script says so."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: dict[str, list[BaseException]] = {}
        self._held: dict[str, asyncio.Event] = {}

    def hold(self, name: str) -> None:
        """Run ``name`` at once from now on, but hand its results over late."""
        self._held[name] = asyncio.Event()

    def let_go(self, name: str) -> None:
        self._held.pop(name).set()

    def fail(self, name: str, *errors: BaseException) -> None:
        self.errors.setdefault(name, []).extend(errors)

    def replace(self, threads: Any) -> "Scripted":
        """Do the work of these threads from now on."""
        threads.run, threads.handle, threads.handle_many = self.run, self.handle, self.handle_many
        return self

    async def handle(self, info: Any, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(function, *args, **kwargs)

    async def handle_many(self, handlers: Any) -> list[Any]:
        return [await self.run(handler) for _, handler in handlers]

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        name = getattr(function, "__name__", "?")
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.errors.get(name):
            raise self.errors[name].pop(0)
        try:
            return function(*args, **kwargs)
        finally:
            if name in self._held:
                await self._held[name].wait()

    def close(self) -> None:
        pass


async def taken(snapshot: Callable[[], Awaitable[State]], begin: Callable[[], None]) -> State:
    begin()
    return await snapshot()


async def join(hub: Hub, listener: Listener, topic: str, **options: Any) -> None:
    """Join as a connection does: take the answer, and subscribe unless the listener is gone by then."""
    pending = await hub.begin_join(topic, **options)
    if listener.announce(pending.payload):
        listener.subscription = pending.subscribe(listener)


class Server:
    """One process: a hub and a publisher."""

    def __init__(
        self,
        log: Log,
        exchange: MemoryExchange,
        threads: Any,
        timing: Timing,
        presence: PresenceStore | None = None,
    ) -> None:
        self.log, self.threads = log, threads
        self.backplane = exchange.backplane()
        self.publisher = Publisher(log, self.backplane, threads)
        self.hub = Hub(
            log,
            self.backplane,
            threads,
            timing=timing,
            batches_found=self.publisher.broadcast,
            group_events=lambda topic, message: (str(message["type"]), str(message["n"]).encode()),
            presence=presence,
        )

    async def start(self) -> "Server":
        await self.hub.start()
        self.publisher.attach(self.hub)
        return self

    async def join(
        self,
        listener: Listener | None = None,
        *,
        since: int | Position | None = None,
        topic: str = TOPIC,
        durable: bool = True,
        slow: Slow | None = None,
        snapshot: Callable[[], Awaitable[State]] | None = None,
    ) -> Listener:
        listener = listener or Listener()
        if isinstance(since, int):
            since = Position(epoch=self.log.heads([topic])[topic].epoch, offset=since)
        await join(
            self.hub,
            listener,
            topic,
            durable=durable,
            slow=slow or Slow.drop(),
            since=since,
            snapshot=None if snapshot is None else Snapshot(read=lambda begin: taken(snapshot, begin)),
        )
        return listener

    def resume(self, listener: Listener, room: int | None = None) -> None:
        listener.room, listener.ready = room, True
        assert listener.subscription is not None
        self.hub.resume(listener.subscription)


class World:
    """A log and the servers on it."""

    def __init__(self, log: Log | None = None, timing: Timing | None = None) -> None:
        self.log = log or MemoryLog()
        self.timing = timing or Timing(patience=0)
        self.exchange = MemoryExchange()
        self.servers: list[Server] = []

    async def server(self) -> Server:
        made = Server(self.log, self.exchange, Scripted(), self.timing)
        self.servers.append(made)
        return await made.start()

    def write(self, *payloads: int | str, topic: str = TOPIC, exclude: str = "") -> None:
        """Put events into the log without a message to any server."""
        self.log.append([draft(payload, topic, exclude) for payload in payloads])

    def rebuild(self, topic: str = TOPIC) -> None:
        """The topic's log is lost."""
        assert isinstance(self.log, MemoryLog)
        self.log._streams.pop(topic, None)
        self.log.renew_first_epochs()

    def head(self, topic: str = TOPIC) -> Position:
        return self.log.heads([topic])[topic].position


def draft(payload: int | str, topic: str = TOPIC, exclude: str = "") -> Draft:
    return Draft(topic=topic, name="said", payload=str(payload).encode(), exclude=exclude)


def publish(
    server: Server, *payloads: int | str, topic: str = TOPIC, exclude: str = "", durable: bool = True
) -> None:
    """Publish as ``def`` code of that server does, each in a turn of the loop of its own."""
    for payload in payloads:
        server.publisher.publish([draft(payload, topic, exclude)], durable=durable)
        for stream in server.hub._streams.values():
            stream.flush()
