"""A Redis server of our own on a free port, which stores nothing on disk."""

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

from tests.services.processes import Server, find_program, free_port, removed_afterwards, start


@dataclass(kw_only=True, slots=True)
class RedisServer:
    """Can be stopped, killed and started again on the same port, as in an outage; what it held is then gone."""

    server: Server
    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """A blocking client for looking into the server; close it, or use it in `with`."""
        at_once = Retry(NoBackoff(), 0)  # redis-py's own retries take seconds when nobody listens
        return Redis(host="127.0.0.1", port=self.port, socket_timeout=5, retry=at_once)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def disconnect_everyone(self) -> None:
        """Cut every client's connection, subscriptions too, and keep running."""
        with self.client() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.kill()

    def start_again(self) -> None:
        self.server = _start(self.directory, self.port)
        self.server.wait_until(self.answers)

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    with removed_afterwards(Path(tempfile.mkdtemp(prefix="holdfast-redis-"))) as directory:
        port = free_port()
        running = RedisServer(server=_start(directory, port), directory=directory, port=port)
        try:
            running.server.wait_until(running.answers)
            yield running
        finally:
            running.stop()


def _start(directory: Path, port: int) -> Server:
    program = find_program("redis-server", package="redis-server")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return start("redis", command, directory=directory, dies_by=signal.SIGTERM)
