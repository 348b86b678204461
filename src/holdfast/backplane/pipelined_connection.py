"""Connections to Redis by which messages leave: one per node, and one batch of commands under way on each."""

import asyncio
import logging
from collections.abc import Sequence

from holdfast.redis.client import RedisStore

from .redis_connection import RedisConnection, Reply, pack
from .topology import Topology, topology_of

logger = logging.getLogger("holdfast.backplane")


class PipelinedConnection:
    """A connection to one node on which every command has one answer, and one batch is under way at a time."""

    def __init__(self) -> None:
        self.link: RedisConnection
        self._answers: list[Reply] = []
        self._expected = 0
        self._done: asyncio.Future[None] | None = None

    async def ask(self, commands: Sequence[bytes], *, patience: float) -> list[Reply]:
        """Send ``commands`` and return their answers: fewer if the connection broke, or was closed because Redis was silent
        for ``patience`` seconds."""
        self._answers, self._expected = [], len(commands)
        self._done = asyncio.get_running_loop().create_future()
        self.link.write(b"".join(commands))
        try:
            async with asyncio.timeout(patience):
                if self.link.open:
                    await self._done
        except TimeoutError:
            self.link.close(f"no answer from Redis for {patience:g} s")
        except asyncio.CancelledError:
            self.link.close()  # late answers would be taken for those of other commands
            raise
        return self._answers

    def receive(self, reply: Reply) -> None:
        self._answers.append(reply)
        if len(self._answers) >= self._expected:
            self.ended("")

    def ended(self, reason: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class PublishConnections:
    """The connections of one event loop by which messages leave, one per node."""

    def __init__(self, store: RedisStore, *, pulse: float, patience: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.nodes: Topology = topology_of(store)
        self._pulse, self._patience = pulse, patience
        self._pipes: dict[str, PipelinedConnection] = {}
        self._checked: dict[str, float] = {}

    async def pipe(self, node: str) -> PipelinedConnection:
        """Return a connection to ``node`` that worked within the last ``pulse`` seconds. Raises any error of redis-py."""
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
            pipe = self._pipes[node] = PipelinedConnection()
            pipe.link = RedisConnection(connection, receive=pipe.receive, ended=pipe.ended)
            answers = await self._probe(pipe)
            if not answers or self.nodes.useless(answers[0]):
                pipe.link.close()
                raise ConnectionError(
                    "the server is a replica, which has no subscribers of ours"
                    if answers
                    else "there is no answer"
                )
            self._checked[node] = self.loop.time()
        return pipe

    async def _probe(self, pipe: PipelinedConnection) -> list[Reply]:
        return await pipe.ask([pack(self.nodes.probe)], patience=self._patience)

    async def close(self) -> None:
        """Close all connections. May run twice at once: on the loop that ends, and on the loop that takes over from it."""
        pipes, self._pipes = self._pipes, {}
        for pipe in pipes.values():
            pipe.link.close()
            await pipe.link.closed()
        await self.nodes.close()
