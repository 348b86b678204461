"""A primary, its replica, and three sentinels that watch them, all real and on free ports."""

import contextlib
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.services.processes import Server, free_port, removed_afterwards, start
from tests.services.redis import RedisServer, redis_program, running_redis

SERVICE = "harbour"
SENTINEL_CONFIGURATION = """
port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor {service} 127.0.0.1 {primary} 2
sentinel auth-pass {service} {password}
sentinel down-after-milliseconds {service} 500
sentinel failover-timeout {service} 3000
requirepass {sentinel_password}
sentinel sentinel-pass {sentinel_password}
"""
PASSWORD, SENTINEL_PASSWORD = "of-the-servers", "of-the-sentinels"


@dataclass(kw_only=True, slots=True)
class Watched:
    """The servers that sentinels watch."""

    servers: list[RedisServer]
    sentinel_ports: list[int]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0?sentinel_password={SENTINEL_PASSWORD}"

    def primary(self) -> RedisServer:
        """The server that the first sentinel names."""
        with self._sentinel(self.sentinel_ports[0]) as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name(SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self) -> None:
        """Make the replica the primary, in order."""
        with self._sentinel(self.sentinel_ports[0]) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)

    def watch(self, server: RedisServer) -> None:
        """Let the sentinels watch another server, without a command to the one that they watched."""
        with server.client() as client:
            client.replicaof("NO", "ONE")
        for port in self.sentinel_ports:
            with self._sentinel(port) as sentinel:
                sentinel.execute_command("SENTINEL", "REMOVE", SERVICE)
                sentinel.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", server.port, 2)
                sentinel.execute_command("SENTINEL", "SET", SERVICE, "auth-pass", PASSWORD)

    def is_complete(self) -> bool:
        """Return whether all sentinels know each other and the replica, and the replica is up to date."""
        try:
            for port in self.sentinel_ports:
                with self._sentinel(port) as sentinel:
                    [state] = sentinel.sentinel_masters().values()
                    if (state["num-other-sentinels"], state["num-slaves"]) != (
                        len(self.sentinel_ports) - 1,
                        1,
                    ):
                        return False
            with self.servers[1].client() as replica:
                return bool(replica.info("replication")["master_link_status"] == "up")
        except (RedisError, KeyError, ValueError):
            return False

    def _sentinel(self, port: int) -> Redis:
        at_once = Retry(NoBackoff(), 0)
        return Redis(
            host="127.0.0.1",
            port=port,
            password=SENTINEL_PASSWORD,
            socket_timeout=5,
            retry=at_once,
            protocol=2,
        )


@contextlib.contextmanager
def running_sentinels() -> Iterator[Watched]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(
            removed_afterwards(Path(tempfile.mkdtemp(prefix="holdfast-sentinel-")))
        )
        options = ["--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"]
        primary = stack.enter_context(running_redis(password=PASSWORD, options=options))
        options += ["--replicaof", f"127.0.0.1 {primary.port}"]
        replica = stack.enter_context(running_redis(password=PASSWORD, options=options))
        watched = Watched(servers=[primary, replica], sentinel_ports=[free_port(), free_port(), free_port()])
        sentinels = [_start_sentinel(directory, port, primary.port) for port in watched.sentinel_ports]
        for sentinel in sentinels:
            stack.callback(sentinel.stop)
        sentinels[0].wait_until(watched.is_complete)
        yield watched


def _start_sentinel(directory: Path, port: int, primary: int) -> Server:
    configuration = directory / f"sentinel-{port}.conf"  # which the sentinel rewrites
    configuration.write_text(
        SENTINEL_CONFIGURATION.format(
            port=port,
            directory=directory,
            service=SERVICE,
            primary=primary,
            password=PASSWORD,
            sentinel_password=SENTINEL_PASSWORD,
        )
    )
    return start(
        f"sentinel-{port}",
        [redis_program(), str(configuration), "--sentinel"],
        directory=directory,
        dies_by=signal.SIGTERM,
    )
