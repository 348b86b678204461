"""A Redis server on a free port, which stores nothing on disk."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.services.processes import Server, find_program, free_port, removed_afterwards, start


def redis_program() -> Path:
    """`redis-server`, or the one that HOLDFAST_REDIS_SERVER names: another version, or Valkey's."""
    return find_program(os.environ.get("HOLDFAST_REDIS_SERVER", "redis-server"), package="redis-server")


@dataclass(kw_only=True, slots=True)
class RedisServer:
    """Can be stopped, killed and started again on the same port, as in an outage; what it held is then gone."""

    server: Server
    directory: Path
    port: int
    password: str | None = None
    tls: bool = False
    options: Sequence[str] = ()

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        if self.tls:
            return f"rediss://{login}127.0.0.1:{self.port}/0?ssl_ca_certs={self.directory}/ca.pem"
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The URL of its UNIX socket."""
        return f"unix://{self.directory}/redis.sock"

    def client(self) -> Redis:
        """A blocking client for looking into the server; close it, or use it in `with`."""
        at_once = Retry(NoBackoff(), 0)  # redis-py's own retries take seconds when no server listens
        tls = {"ssl": True, "ssl_ca_certs": f"{self.directory}/ca.pem"} if self.tls else {}
        return Redis(
            host="127.0.0.1", port=self.port, password=self.password, socket_timeout=5, retry=at_once, **tls
        )

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

    def freeze(self) -> None:
        """Stop the process and leave its connections open: clients get neither an answer nor an error."""
        self.server.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.server.process.send_signal(signal.SIGCONT)

    def start_again(self) -> None:
        self.server = _start(self.directory, self.port, tls=self.tls, options=self.options)
        self.server.wait_until(self.answers)

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextlib.contextmanager
def running_redis(
    *, password: str | None = None, tls: bool = False, options: Sequence[str] = ()
) -> Iterator[RedisServer]:
    """With a `password`, with TLS (and a certificate made for it), and with more of its own `options`."""
    with removed_afterwards(Path(tempfile.mkdtemp(prefix="holdfast-redis-"))) as directory:
        port = free_port()
        options = [*options, *(["--requirepass", password] if password else [])]
        if tls:
            make_certificate(directory)
        running = RedisServer(
            server=_start(directory, port, tls=tls, options=options),
            directory=directory,
            port=port,
            password=password,
            tls=tls,
            options=options,
        )
        try:
            running.server.wait_until(running.answers)
            yield running
        finally:
            running.stop()


def make_certificate(directory: Path) -> None:
    """`ca.pem`, which is also the server's, and its key in `key.pem`: for 127.0.0.1, and for a day."""
    openssl = find_program("openssl", package="openssl")
    subprocess.run(
        [
            *[openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            *["-days", "1", "-subj", "/CN=holdfast tests", "-addext", "subjectAltName=IP:127.0.0.1"],
            *["-keyout", directory / "key.pem", "-out", directory / "ca.pem"],
        ],
        check=True,
        capture_output=True,
    )


def _start(directory: Path, port: int, *, tls: bool = False, options: Sequence[str] = ()) -> Server:
    command = [redis_program(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--unixsocket", str(directory / "redis.sock")]
    if tls:
        certificate = [
            "--tls-cert-file",
            "ca.pem",
            "--tls-key-file",
            "key.pem",
            "--tls-ca-cert-file",
            "ca.pem",
        ]
        command += ["--port", "0", "--tls-port", str(port), *certificate, "--tls-auth-clients", "no"]
    else:
        command += ["--port", str(port)]
    # Its data need not be kept, and a frozen server reacts to no other signal.
    return start("redis", [*command, *options], directory=directory, dies_by=signal.SIGKILL)
