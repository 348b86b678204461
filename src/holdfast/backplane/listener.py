"""Listening socket of one process, for the other processes of its machine."""

import asyncio
import logging
import os
import socket
import weakref
from collections.abc import Callable

from .folder import Folder
from .local_frames import NotAFrameError, frames

logger = logging.getLogger("holdfast.backplane")

READ_BYTES = 262_144
"""Bytes that are read from one connection before the event loop may do something else."""

ACCEPT_SECONDS = 1.0
"""Pause after a connection could not be accepted."""


class Listener:
    """Listens in ``folder`` under ``name``, on the running event loop, as soon as it is made.

    ``receive`` gets every topic and message; ``gap`` is called when a process reports that it dropped some. Neither may
    raise. Raises ``OSError`` or ``UnusableError`` if it cannot listen.
    """

    def __init__(
        self, folder: Folder, name: str, *, receive: Callable[[str, bytes], None], gap: Callable[[], None]
    ) -> None:
        self._receive, self._gap = receive, gap
        self._folder, self._name = folder, name
        self._loop = asyncio.get_running_loop()
        self._connections: dict[socket.socket, bytearray] = {}
        self._socket = folder.listen(name)
        self._loop.add_reader(self._socket, self._accept)
        # Servers that do not speak the lifespan protocol end without close().
        weakref.finalize(self, _remove, folder, name, os.getpid())

    @property
    def can_be_found(self) -> bool:
        return self._folder.has(self._name)

    def close(self) -> None:
        """Stop receiving. Messages that were sent but not read yet are lost."""
        for connection in (self._socket, *self._connections):
            if not self._loop.is_closed():
                self._loop.remove_reader(connection)
            connection.close()
        self._connections.clear()
        self._folder.remove(self._name)

    def forget(self) -> None:
        """In a forked child: the sockets are the parent's. The child closes its copies, so that they end with the parent."""
        for connection in (self._socket, *self._connections):
            os.close(connection.detach())
        self._connections.clear()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as error:  # too many open files
            logger.warning(
                "Failed to accept a connection of another process of this machine (%s); trying again.", error
            )
            self._loop.remove_reader(self._socket)
            self._loop.call_later(ACCEPT_SECONDS, self._accept_again)
            return
        connection.setblocking(False)
        self._connections[connection] = bytearray()
        self._loop.add_reader(connection, self._read, connection)

    def _accept_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(connection)
            return
        buffer = self._connections[connection]
        buffer += data
        try:
            for found in frames(buffer):
                if found is None:
                    self._gap()
                else:
                    self._receive(*found)
        except NotAFrameError as error:
            logger.warning(
                "Closed the connection of another process of this machine: it sent no valid frame (%s).",
                error,
            )
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        if self._connections.pop(connection, None) is not None:
            self._loop.remove_reader(connection)
            connection.close()


def _remove(folder: Folder, name: str, process: int) -> None:
    if os.getpid() == process:  # not in a forked child that ends
        folder.remove(name)
