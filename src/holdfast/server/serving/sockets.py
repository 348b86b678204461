"""Sockets that a server listens on, made before the server is: a UNIX socket, or one that systemd has opened."""

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import uvicorn


class CannotListen(Exception):
    """The address is taken or is no socket. The message says which option to change."""


@contextlib.contextmanager
def listening(config: uvicorn.Config, fd: int | None) -> Iterator[list[socket.socket] | None]:
    """Open the sockets for the length of the block; ``None`` if the server binds host and port itself.

    Raises :class:`CannotListen`.
    """
    if fd is not None:
        yield [_passed_socket(fd)]
    elif config.uds is not None:
        with _unix_socket(config, config.uds) as made:
            yield [made]
    else:
        yield None


def _passed_socket(fd: int) -> socket.socket:
    """Return a socket that the parent of this process has opened (systemd)."""
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise CannotListen(
            f"--fd {fd}: {error}. Expected a socket that listens; systemd's first is 3."
        ) from error


@contextlib.contextmanager
def _unix_socket(config: uvicorn.Config, path: str) -> Iterator[socket.socket]:
    """Bind a UNIX socket. Remove the file that a killed server left, and at the end this server's own file.

    While this server drains, its successor may have put another file there, which stays.
    """
    if _is_abandoned(path):
        Path(path).unlink()
    made = config.bind_socket()
    ours = _identity(path)
    try:
        yield made
    finally:
        if _identity(path) == ours:
            Path(path).unlink(missing_ok=True)


def _identity(path: str) -> tuple[int, int] | None:
    """Tell this file from another of the same name."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns  # a file system may give a number out again


def _is_abandoned(path: str) -> bool:
    """Is there a socket at ``path`` that no server listens on? Raises :class:`CannotListen` for anything else there."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise CannotListen(f"--uds {path}: there is a file of that name that is no socket.")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
    raise CannotListen(f"--uds {path}: another server listens there.")
