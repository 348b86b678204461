"""The servers behind the URL, and which of them a channel belongs to.

One server and sentinels: every channel belongs to the one node, the primary. A cluster: sharded pub/sub, where a channel
belongs to a slot as a key does, and the slot to a node.
"""

from abc import ABC, abstractmethod
from typing import Any, cast

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from holdfast.redis.client import RedisStore

PRIMARY = "primary"


class Nodes(ABC):
    """Belongs to one event loop. Every error of redis-py may be raised by what is awaited."""

    publish: bytes
    subscribe: bytes
    unsubscribe: bytes
    probe: bytes
    """The commands that are right there; ``probe`` is for a connection to publish on, to see whether it is in order."""
    known: bool
    """Is it known what belongs to which node?"""

    @abstractmethod
    def node_of(self, channel: bytes) -> str:
        """The name of the node; raises ``RedisError`` if that is not known at present."""

    @abstractmethod
    async def learn(self) -> None:
        """Ask anew which nodes there are, and what belongs to them."""

    def doubt(self) -> None:  # noqa: B027 - where there is one node there is nothing to doubt
        """What is known may not be true any more."""

    @abstractmethod
    async def connect(self, node: str) -> AbstractConnection:
        """A new connection, for whoever asked alone."""

    @abstractmethod
    async def moved(self, connection: AbstractConnection) -> bool:
        """Is another node responsible now for what goes through this connection, which itself may be in order?"""

    def useless(self, probed: Any) -> bool:
        """Does this answer to ``probe`` say that nobody would hear what is published there?"""
        return False

    @abstractmethod
    async def close(self) -> None: ...


class OneNode(Nodes):
    """A server, or the primary that sentinels name."""

    publish, subscribe, unsubscribe, probe = b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE", b"HELLO"
    known = True

    def __init__(self, store: RedisStore) -> None:
        self._client: Any = store.aclient()
        self._service = store.address.service

    def node_of(self, channel: bytes) -> str:
        return PRIMARY

    async def learn(self) -> None:
        """Nothing to learn: sentinels are asked at each connection."""

    async def connect(self, node: str) -> AbstractConnection:
        return await _connected(self._client.connection_pool.make_connection())

    async def moved(self, connection: AbstractConnection) -> bool:
        """Sentinels cut the connections to a primary that they replace; but not to one that they cannot reach."""
        pool = self._client.connection_pool
        if not isinstance(pool, SentinelConnectionPool):
            return False
        try:
            primary = await pool.sentinel_manager.discover_master(self._service)
        except Exception:  # noqa: BLE001 - whatever redis-py raises
            return False  # nobody knows better
        return bool(primary != (getattr(connection, "host", None), getattr(connection, "port", None)))

    def useless(self, probed: Any) -> bool:
        """A replica passes on what its primary says, and keeps to itself what it is told. Where the name in the URL moves on
        to another server (a managed service, a proxy), the old one may become a replica without closing a connection."""
        if not isinstance(probed, list) or b"role" not in probed[::2]:
            return False
        return bool(probed[probed.index(b"role") + 1] == b"replica")

    async def close(self) -> None:
        await self._client.aclose()


class ClusterNodes(Nodes):
    """The primaries of a cluster. Needs Redis 7 or Valkey, which have sharded pub/sub."""

    publish, subscribe, unsubscribe, probe = b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"PING"
    known = False

    def __init__(self, store: RedisStore) -> None:
        self._client: Any = store.aclient()

    def node_of(self, channel: bytes) -> str:
        if not self.known:
            raise RedisError("The nodes of the cluster are not known yet.")
        name: str = self._client.nodes_manager.get_node_from_slot(self._client.keyslot(channel)).name
        return name

    async def learn(self) -> None:
        self.known = False
        await self._client.aclose()
        await self._client.initialize()
        self.known = True

    def doubt(self) -> None:
        self.known = False

    async def connect(self, node: str) -> AbstractConnection:
        found = self._client.get_node(node_name=node)
        if found is None:
            raise RedisError(f"{node} is not in the cluster any more.")
        return await _connected(found.connection_class(**found.connection_kwargs))

    async def moved(self, connection: AbstractConnection) -> bool:
        """A node that loses a slot ends its subscriptions and refuses its messages by itself."""
        return False

    async def close(self) -> None:
        await self._client.aclose()


def publish_command(store: RedisStore) -> bytes:
    return (ClusterNodes if store.clustered else OneNode).publish


def nodes_of(store: RedisStore) -> Nodes:
    return ClusterNodes(store) if store.clustered else OneNode(store)


async def _connected(connection: Any) -> AbstractConnection:
    try:
        await connection.connect()
    except BaseException:  # cancelled: redis-py closes it after its own errors only
        await connection.disconnect(nowait=True)
        raise
    return cast("AbstractConnection", connection)
