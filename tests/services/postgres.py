"""A PostgreSQL server of our own in a temporary directory, with default settings (fsync is on) unless the caller has others."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tests.services.processes import (
    MissingProgram,
    Server,
    find_program,
    free_port,
    removed_afterwards,
    start,
)

USER = "holdfast"


@dataclass(kw_only=True, slots=True)
class PostgresServer:
    """Reached over its Unix socket (`host` is the socket's directory) or over TCP on 127.0.0.1, without a password."""

    server: Server
    host: str
    port: int
    command: tuple[str | Path, ...] = ()

    def dsn(self, database: str = "postgres") -> str:
        """A libpq URL for `database`, over TCP, so that processes of any user can connect."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def django(self, database: str) -> dict[str, str]:
        """The entries of Django's `DATABASES[alias]` that say where `database` is."""
        return {"NAME": database, "USER": USER, "PASSWORD": "", "HOST": self.host, "PORT": str(self.port)}

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database, empty or as a copy of `template`, to which nothing may be connected. Return its `dsn`."""
        with self._administer() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop it, also under connections that are still open."""
        with self._administer() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def disconnect_everyone(self) -> None:
        """Cut every connection to every database, as an administrator or a failover would."""
        with self._administer() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def crash(self) -> None:
        """Shut down at once: PostgreSQL writes nothing out, sends clients no message, and recovers from the journal at the next start."""
        self.server.stop(signal.SIGQUIT)

    def start_again(self) -> None:
        """Start on the same port with the same committed data. Wait for it with :meth:`wait`."""
        self.server = _start(Path(self.host), self.command)

    def wait(self) -> None:
        self.server.wait_until(self.answers)

    def answers(self) -> bool:
        try:
            with self._administer():
                return True
        except psycopg.OperationalError:
            return False

    def _administer(self) -> contextlib.AbstractContextManager[psycopg.Connection]:
        return psycopg.connect(
            host=self.host, port=self.port, user=USER, dbname="postgres", autocommit=True, connect_timeout=5
        )


def find_initdb() -> Path:
    """`initdb`, beside which `postgres` lies; Debian keeps both out of the PATH. Raises `MissingProgram`."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    return find_program("initdb", package="postgresql", also_in=places)


IN_A_HURRY = {"fsync": "off", "full_page_writes": "off"}
"""Settings for tests: do not wait for the disk. That protects from the end of the whole machine, which no test brings about. What a
killed server had committed is there when it is back."""


@contextlib.contextmanager
def running_postgres(**settings: str) -> Iterator[PostgresServer]:
    """Initialise and start a server; `settings` are `postgresql.conf` names, for example `max_connections="300"`."""
    initdb = find_initdb()
    postgres = initdb.with_name("postgres")
    user = _unprivileged_user()
    # A short path: a Unix socket's may have no more than 107 bytes.
    with removed_afterwards(Path(tempfile.mkdtemp(prefix="holdfast-pg-", dir="/tmp"))) as directory:
        if user:
            shutil.chown(directory, user, user)
        data = directory / "data"
        initialised = subprocess.run(
            [
                initdb,
                "--pgdata",
                data,
                "--username",
                USER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
            ],
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if initialised.returncode:
            raise RuntimeError(f"initdb failed:\n{initialised.stdout}{initialised.stderr}")
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(directory),
            "max_connections": "200",
        } | settings
        command: list[str | Path] = [postgres, "-D", data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        server = _start(directory, command)
        running = PostgresServer(server=server, host=str(directory), port=port, command=tuple(command))
        try:
            running.wait()
            yield running
        finally:
            running.server.stop(signal.SIGINT)


def _start(directory: Path, command: Sequence[str | Path]) -> Server:
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave.
    return start("postgres", command, directory=directory, user=_unprivileged_user(), dies_by=signal.SIGINT)


def _unprivileged_user() -> str | None:
    """The user to run as: PostgreSQL refuses root, so root runs it as the package's own user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise MissingProgram("postgres", "postgresql") from None
