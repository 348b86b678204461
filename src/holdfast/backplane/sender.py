"""What brings the messages of one process to Redis.

Any thread puts messages in and never waits. A single task, which exists only while there is something to send, takes out
all there is, sends it in one round trip, and begins again with what gathered meanwhile. It runs on the receiving event
loop of this process or, if there is none, on the courier's; each has its own connection, one for each node.

Nothing is sent twice: what went out without an answer counts as lost, since an ephemeral message must not arrive again.
What could not go out at all waits, within the bounds of the :class:`~.outbox.Outbox`, until Redis is back.
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Sequence

from holdfast.process.fork import start_anew_after_fork
from holdfast.process.shutdown import flush_at_exit, wait_for
from holdfast.redis.client import RedisStore

from .backoff import full_jitter
from .envelope import SENDER_BYTES, join
from .link import Link, Reply, pack
from .nodes import Nodes, nodes_of
from .outbox import Outbox, Parcel
from .place import Place, set_aside
from .tasks import end

logger = logging.getLogger("holdfast.backplane")


class Pipe:
    """A link to one node on which every command has one answer, and one batch is under way at a time."""

    def __init__(self) -> None:
        self.link: Link
        self._answers: list[Reply] = []
        self._expected = 0
        self._done: asyncio.Future[None] | None = None

    async def ask(self, commands: Sequence[bytes], *, patience: float) -> list[Reply]:
        """The answers that came before the link broke or ``patience`` seconds were over; then it is closed."""
        self._answers, self._expected = [], len(commands)
        self._done = asyncio.get_running_loop().create_future()
        self.link.write(b"".join(commands))
        try:
            async with asyncio.timeout(patience):
                if self.link.open:
                    await self._done
        except TimeoutError:
            self.link.close(f"nothing was heard from Redis for {patience:g} s")
        except asyncio.CancelledError:
            self.link.close()  # later answers would be taken for those of other commands
            raise
        return self._answers

    def receive(self, reply: Reply) -> None:
        self._answers.append(reply)
        if len(self._answers) >= self._expected:
            self.ended("")

    def ended(self, reason: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class Route:
    """The connections of one event loop by which messages leave."""

    def __init__(self, store: RedisStore, *, pulse: float, patience: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.nodes: Nodes = nodes_of(store)
        self._pulse, self._patience = pulse, patience
        self._pipes: dict[str, Pipe] = {}
        self._checked: dict[str, float] = {}

    async def pipe(self, node: str) -> Pipe:
        """A connection that was in order a moment ago; raises whatever redis-py raises."""
        pipe = self._pipes.get(node)
        if pipe is not None and pipe.link.open and self.loop.time() - self._checked[node] > self._pulse:
            answers = await self._probe(pipe)
            if not answers:
                logger.debug("A connection to Redis was found broken.")
            elif self.nodes.useless(answers[0]) or await self.nodes.moved(pipe.link.connection):
                pipe.link.close("another server is the primary now")
            self._checked[node] = self.loop.time()
        if pipe is None or not pipe.link.open:
            connection = await self.nodes.connect(node)
            pipe = self._pipes[node] = Pipe()
            pipe.link = Link(connection, receive=pipe.receive, ended=pipe.ended)
            answers = await self._probe(pipe)
            if not answers or self.nodes.useless(answers[0]):
                pipe.link.close()
                raise ConnectionError(
                    "it is a replica, where nobody hears us" if answers else "there is no answer"
                )
            self._checked[node] = self.loop.time()
        return pipe

    async def _probe(self, pipe: Pipe) -> list[Reply]:
        return await pipe.ask([pack(self.nodes.probe)], patience=self._patience)

    async def close(self) -> None:
        """Close all connections. May run twice at once: the loop that ends closes its route, and so does the loop that
        takes over from it."""
        pipes, self._pipes = self._pipes, {}
        for pipe in pipes.values():
            pipe.link.close()
            await pipe.link.closed()
        await self.nodes.close()


class Sender:
    """For one process. ``channel_of`` gives a topic's channel. ``pulse``: a connection that was not used for so many
    seconds is tried before it is trusted; ``patience``: how long Redis may take for an answer, in seconds."""

    def __init__(
        self,
        store: RedisStore,
        channel_of: Callable[[str], bytes],
        *,
        pulse: float,
        patience: float,
        outbox: Outbox | None = None,
    ) -> None:
        self._store, self._channel_of, self._pulse, self._patience = store, channel_of, pulse, patience
        self.outbox = Outbox() if outbox is None else outbox
        self.place = Place()
        self._inherited: list[object] = []
        self._begin()
        start_anew_after_fork(self)
        flush_at_exit(self)

    def _begin(self) -> None:
        self.id = secrets.token_bytes(SENDER_BYTES)
        self._lock = threading.RLock()
        self._running = False  # the task is there, or about to be
        self._task: asyncio.Task[None] | None = None
        self._route: Route | None = None
        self._failures = 0  # in a row; an outage, if there are any
        self._told = False  # that messages are being dropped
        self._idle = threading.Event()
        self._idle.set()

    def start_anew(self) -> None:
        # Nothing of the parent's is closed or collected here: it shares its sockets and its epoll with the parent.
        self._inherited += [self._task, self._route]
        self.place = Place()
        self.outbox.start_anew()
        self._begin()

    # ── putting in: any thread ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Queue messages, each with its topic. When there is no room the oldest ones are given up for them."""
        dropped = self.outbox.put_many(messages)
        self._see_to_it()
        if dropped and not self._told:
            self._told = True
            logger.warning(
                "The backplane %s: messages are being dropped, the oldest first.",
                "cannot send" if self._failures else "is given more than it can send",
            )

    def _see_to_it(self) -> None:
        with self._lock:
            self._idle.clear()
            wake, self._running = not self._running, True
        if wake and not self.place.call_soon(self._start, used_by=self):
            self.outbox.give_up_all()
            self._idle.set()

    def flush(self, timeout: float) -> bool:
        """Wait until all is sent, or lost, for at most ``timeout`` seconds; say whether it is so."""
        if self.place.stopped:
            self._leave_loop()
        return wait_for(self._idle, timeout)

    # ── sending: on a loop ───────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            route = self._route_here()
            while not self._is_done():
                try:
                    await self._round(route)
                except Exception as error:
                    with set_aside():
                        logger.exception("Messages could not be sent, and are lost")
                    await self._failed(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:  # the loop is being shut down; the courier carries the rest
            self._leave_loop()
            raise

    def _is_done(self) -> bool:
        with self._lock:
            if not self.outbox.empty:
                return False
            self._running = self._told = False
            self._idle.set()
            return True

    def _leave_loop(self) -> None:
        with self._lock:
            self.place.loop = None
            self._running = False
        if not self.outbox.empty:
            self._see_to_it()
        else:
            self._idle.set()

    def _route_here(self) -> Route:
        route, loop = self._route, asyncio.get_running_loop()
        if route is None or route.loop is not loop:
            if route is not None and route.loop.is_running():
                asyncio.run_coroutine_threadsafe(route.close(), route.loop)
            elif route is not None:
                self._inherited.append(route)  # nobody can close it any more
            route = self._route = Route(self._store, pulse=self._pulse, patience=self._patience)
        return route

    async def _round(self, route: Route) -> None:
        """Send what there is, once."""
        parcels = self.outbox.take()
        if not parcels:
            return
        try:
            if not route.nodes.known:
                await route.nodes.learn()
            groups: dict[str, list[Parcel]] = {}
            for parcel in parcels:
                node = route.nodes.node_of(self._channel_of(parcel.topic))
                groups.setdefault(node, []).append(parcel)
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises
            self.outbox.give_back(parcels)
            await self._failed(f"{type(error).__name__}: {error}")
            return
        reasons = await asyncio.gather(*[self._send(route, node, group) for node, group in groups.items()])
        if reason := next(filter(None, reasons), ""):
            route.nodes.doubt()
            await self._failed(reason)
        else:
            self._succeeded()

    async def _send(self, route: Route, node: str, parcels: list[Parcel]) -> str:
        """Send them to ``node``; says why it could not."""
        try:
            pipe = await route.pipe(node)
        except asyncio.CancelledError:
            self.outbox.give_back(parcels)
            raise
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises
            self.outbox.give_back(parcels)
            return f"{type(error).__name__}: {error}"
        commands = [self._command(route.nodes.publish, parcel) for parcel in parcels]
        try:
            answers = await pipe.ask(commands, patience=self._patience)
        except asyncio.CancelledError:
            self.outbox.failed(parcels)
            raise
        refused = next((str(answer) for answer in answers if isinstance(answer, Exception)), "")
        if refused or len(answers) < len(parcels):
            self._sort_out(parcels, answers)
        return refused if len(answers) == len(parcels) else "the connection broke"

    def _sort_out(self, parcels: Sequence[Parcel], answers: Sequence[Reply]) -> None:
        """What was refused is sent again, unless something of its topic that followed may have gone out already."""
        again: list[Parcel] = []
        lost = list(parcels[len(answers) :])
        overtaken = {parcel.topic for parcel in lost}
        for parcel, answer in reversed(list(zip(parcels, answers, strict=False))):
            if not isinstance(answer, Exception):
                overtaken.add(parcel.topic)
            elif parcel.topic in overtaken:
                lost.append(parcel)
            else:
                again.append(parcel)
        self.outbox.give_back(again[::-1])
        self.outbox.failed(lost)

    def _command(self, publish: bytes, parcel: Parcel) -> bytes:
        envelope = join(self.id, [waiting.message for waiting in parcel.content], gap=parcel.gap)
        return pack(publish, self._channel_of(parcel.topic), envelope)

    async def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            with set_aside():
                logger.warning("The backplane cannot send (%s) and goes on trying.", reason)
        await asyncio.sleep(full_jitter(self._failures))

    def _succeeded(self) -> None:
        if self._failures:
            self._failures = 0
            with set_aside():
                logger.warning(
                    "The backplane sends again; it has lost %d messages since this process started.",
                    sum(self.outbox.lost.values()),
                )

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def leave(self, timeout: float) -> None:
        """Stop using the running event loop, after all is sent or ``timeout`` seconds. Sending stays possible."""
        try:
            async with asyncio.timeout(timeout):
                while not self._idle.is_set():  # noqa: ASYNC110 - set from any thread; and only asked at the end
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pass
        loop, task, route = asyncio.get_running_loop(), self._task, self._route
        self.place.loop = None
        if task is not None and not task.done() and task.get_loop() is loop:
            await end([task])
        if route is not None and route.loop is loop:
            if self._route is route:
                self._route = None
            await route.close()
