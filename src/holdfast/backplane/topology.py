"""Topology of the servers behind the URL: the node to which each channel belongs.

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


class Topology(ABC):
    """Nodes and their channels, for one event loop. Every awaited method may raise any error of redis-py."""

    publish: bytes
    subscribe: bytes
    unsubscribe: bytes
    probe: bytes
    """The commands to use there. ``probe`` checks whether a connection that publishes is in order."""
    known: bool
    """Is it known which channel belongs to which node?"""

    @abstractmethod
    def node_of(self, channel: bytes) -> str:
        """Return the name of the channel's node. Raises ``RedisError`` if it is not known at present."""

    @abstractmethod
    async def learn(self) -> None:
        """Ask the servers again which nodes there are, and what belongs to them."""

    def doubt(self) -> None:  # noqa: B027 - where there is one node there is nothing to doubt
        """The topology may have changed: learn it again before the next use."""

    @abstractmethod
    async def connect(self, node: str) -> AbstractConnection:
        """Return a new connection that only the caller uses."""

    @abstractmethod
    async def moved(self, connection: AbstractConnection) -> bool:
        """Return whether another node is responsible now, although ``connection`` itself may be in order."""

    def useless(self, probed: Any) -> bool:
        """Return whether this answer to ``probe`` says that a message published there would reach no subscriber."""
        return False

    @abstractmethod
    async def close(self) -> None: ...


class SingleTopology(Topology):
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
            return False  # no sentinel answers, so keep the connection
        return bool(primary != (getattr(connection, "host", None), getattr(connection, "port", None)))

    def useless(self, probed: Any) -> bool:
        """Return whether the server is a replica, which delivers only what its primary sends.

        Where the name in the URL moves to another server (a managed service, a proxy), the old one may become a replica
        without closing its connections.
        """
        if not isinstance(probed, list) or b"role" not in probed[::2]:
            return False
        return bool(probed[probed.index(b"role") + 1] == b"replica")

    async def close(self) -> None:
        await self._client.aclose()


class ClusterTopology(Topology):
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
        """Return ``False``: a node that loses a slot ends its subscriptions and refuses its messages without being asked."""
        return False

    async def close(self) -> None:
        await self._client.aclose()


def publish_command(store: RedisStore) -> bytes:
    return (ClusterTopology if store.clustered else SingleTopology).publish


def topology_of(store: RedisStore) -> Topology:
    return ClusterTopology(store) if store.clustered else SingleTopology(store)


async def _connected(connection: Any) -> AbstractConnection:
    try:
        await connection.connect()
    except BaseException:  # cancelled: redis-py closes it after its own errors only
        await connection.disconnect(nowait=True)
        raise
    return cast("AbstractConnection", connection)
