"""Clients of the Redis that the settings name, for every part that stores data there.

Each process makes one :class:`RedisStore` and shares it. Its clients, blocking and asynchronous, keep these promises for
every form of URL (:mod:`.address`):

- **They answer in time.** Connecting takes at most ``timeout`` seconds, and so does an answer; then they raise
  ``redis.exceptions.TimeoutError``. A command that waits in Redis (``BLPOP``, ``XREAD BLOCK``) has to wait for less.
- **A command is sent once.** redis-py would send it again after an error, but the first one may have been carried out.
  So every ``redis.exceptions.RedisError`` reaches the caller, who knows whether a retry does harm. Only commands that
  Redis itself refused on this node (``MOVED``, ``ASK`` in a cluster) are sent again, to the node they belong to.
- **They leave a server that has become a replica,** which keeps its connections: the refused command raises
  ``redis.exceptions.ConnectionError``, and the next one goes to the server that the URL names by then.
- **They survive a fork:** a child has clients of its own.
- Answers are bytes (``decode_responses`` is off), in the shapes of RESP 2.
"""

import threading
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.exceptions
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from holdfast.process.fork import reset_after_fork

from .address import RedisAddress, RedisKind

Client = redis.Redis | redis.cluster.RedisCluster
"""A blocking client. Both kinds have the same methods for commands."""

AsyncClient = redis.asyncio.Redis | redis.asyncio.cluster.RedisCluster
"""A client whose methods are awaited. Both kinds have the same methods for commands."""

# Without types in redis-py.
_Sentinel: Any = redis.sentinel.Sentinel
_AsyncSentinel: Any = redis.asyncio.sentinel.Sentinel
_ClusterNode: Any = redis.cluster.ClusterNode


def hash_tag(name: str) -> str:
    """Return ``name`` in braces, with braces inside it escaped. A cluster keeps all keys and channels with the same tag
    together."""
    escaped = name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    return f"{{{escaped}}}"


_DEMOTED = "the server has become a replica"


class _Leaves:
    """A connection that closes when its server is found to be a replica. (Behind sentinels, redis-py's own do so.)"""

    def read_response(self, *args: Any, **options: Any) -> Any:
        connection: Any = super()
        try:
            return connection.read_response(*args, **options)
        except redis.exceptions.ReadOnlyError as error:
            connection.disconnect()
            raise redis.exceptions.ConnectionError(_DEMOTED) from error


class _AsyncLeaves:
    """The same for an asynchronous connection."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        connection: Any = super()
        try:
            return await connection.read_response(*args, **options)
        except redis.exceptions.ReadOnlyError as error:
            await connection.disconnect(nowait=True)
            raise redis.exceptions.ConnectionError(_DEMOTED) from error


def _leaving(leaves: Any, connection: Any) -> Any:
    return type(f"{connection.__name__}ToPrimary", (leaves, connection), {})


class _WatchedPrimary(redis.asyncio.Redis):
    """Closes its connections to the sentinels too, which redis-py leaves open."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


class RedisStore:
    """One Redis, by its URL. Raises :class:`~.address.BadUrl`; connects to nothing before a client is used."""

    def __init__(self, url: str) -> None:
        self.address = RedisAddress.parse(url)
        self._begin()
        self._inherited: list[Client] = []
        reset_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._client: Client | None = None

    def reset_in_child(self) -> None:
        """In a forked child: keep the parent's client, so that nothing closes it, and never use it."""
        if self._client is not None:
            self._inherited.append(self._client)
        self._begin()

    @property
    def prefix(self) -> str:
        """Beginning of the names of all keys and channels."""
        return self.address.prefix

    @property
    def clustered(self) -> bool:
        """``True`` for a cluster, where all keys of one command or script must share a ``{hash tag}``."""
        return self.address.kind is RedisKind.CLUSTER

    def client(self) -> Client:
        """Return this process's blocking client, which any thread may use. It stays open until :meth:`close`.

        Raises ``redis.exceptions.RedisError`` if none of the nodes of a cluster in the URL answers.
        """
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def aclient(self, *, timeout: float | None = None) -> AsyncClient:
        """Return a new client for the running event loop. The caller closes it: ``await client.aclose()``.

        ``timeout``, in seconds, replaces that of the URL.
        """
        address = self.address
        options = self._options(timeout) | {"retry": AsyncRetry(NoBackoff(), 0)}
        if address.kind is RedisKind.CLUSTER:
            nodes = [redis.asyncio.cluster.ClusterNode(host, port) for host, port in address.hosts]
            return redis.asyncio.cluster.RedisCluster(startup_nodes=nodes, **options)
        if address.kind is RedisKind.SENTINEL:
            sentinel = _AsyncSentinel(
                address.hosts, sentinel_kwargs=options | self._sentinel_login(), **options
            )
            primary: redis.asyncio.Redis = sentinel.master_for(
                address.service, redis_class=_WatchedPrimary, db=address.db
            )
            return primary
        client = redis.asyncio.Redis(**self._place(), **options)
        client.connection_pool.connection_class = _leaving(
            _AsyncLeaves, client.connection_pool.connection_class
        )
        return client

    def close(self) -> None:
        """Close the blocking client. The next call of :meth:`client` returns a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connect(self) -> Client:
        address = self.address
        options = self._options(None) | {"retry": Retry(NoBackoff(), 0)}
        if address.kind is RedisKind.CLUSTER:
            nodes: list[Any] = [_ClusterNode(host, port) for host, port in address.hosts]
            return redis.cluster.RedisCluster(startup_nodes=nodes, **options)
        if address.kind is RedisKind.SENTINEL:
            sentinel = _Sentinel(address.hosts, sentinel_kwargs=options | self._sentinel_login(), **options)
            primary: redis.Redis = sentinel.master_for(address.service, db=address.db)
            return primary
        client = redis.Redis(**self._place(), **options)
        client.connection_pool.connection_class = _leaving(_Leaves, client.connection_pool.connection_class)
        return client

    # ── arguments of redis-py ────────────────────────────────────────────────────────────────────────────────────────

    def _place(self) -> dict[str, Any]:
        address = self.address
        if address.socket is not None:
            return {"unix_socket_path": address.socket, "db": address.db}
        [(host, port)] = address.hosts
        return {"host": host, "port": port, "db": address.db}

    def _options(self, timeout: float | None) -> dict[str, Any]:
        address = self.address
        seconds = address.timeout if timeout is None else timeout
        return {
            "username": address.username,
            "password": address.password,
            "client_name": "holdfast",
            "protocol": 2,
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            **({"ssl": True, **address.ssl} if address.tls else {}),
        }

    def _sentinel_login(self) -> dict[str, Any]:
        return {"username": self.address.sentinel_username, "password": self.address.sentinel_password}
