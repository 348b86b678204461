"""A Redis Cluster of three primaries, each with a replica if asked for, all real and on free ports."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from redis.exceptions import RedisError

from tests.services.processes import find_program, free_port
from tests.services.redis import RedisServer, running_redis


@dataclass(kw_only=True, slots=True)
class Cluster:
    """`servers` holds the primaries first."""

    servers: list[RedisServer]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def is_whole(self) -> bool:
        try:
            return all(self._agrees(server) for server in self.servers)
        except RedisError:
            return False

    def _agrees(self, server: RedisServer) -> bool:
        with server.client() as client:
            # In two words, so that redis-py leaves the answers as they are.
            state = client.execute_command("CLUSTER", "INFO")
            nodes = client.execute_command("CLUSTER", "NODES")
        return b"cluster_state:ok" in state and nodes.count(b"slave ") == len(self.servers) - 3

    def owner(self, key: str) -> RedisServer:
        """The server that is responsible for the key."""
        with self.servers[0].client() as client:
            slot = client.execute_command("CLUSTER", "KEYSLOT", key)
            for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"no server owns {key}")

    def give_away(self, key: str) -> RedisServer:
        """Move the slot of `key` (in which no keys are) to another primary; says to which."""
        before = self.owner(key)
        after = next(server for server in self.servers[:3] if server is not before)
        with after.client() as client:
            node = client.execute_command("CLUSTER", "MYID").decode()
            slot = client.execute_command("CLUSTER", "KEYSLOT", key)
        for server in [after, *[other for other in self.servers[:3] if other is not after]]:
            with server.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", node)
        return after


@contextlib.contextmanager
def running_cluster(*, replicas: bool = False) -> Iterator[Cluster]:
    options = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--repl-diskless-sync-delay",
        "0",
    ]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running_redis(options=[*options, "--cluster-port", str(free_port())]))
            for _ in range(6 if replicas else 3)
        ]
        cluster = Cluster(servers=servers)
        command = [find_program("redis-cli", package="redis-tools"), "--cluster", "create"]
        command += [f"127.0.0.1:{server.port}" for server in servers]
        command += ["--cluster-replicas", "1" if replicas else "0", "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        servers[0].server.wait_until(cluster.is_whole)
        yield cluster
