"""A worker process of ``holdfast serve --workers``, which the supervisor commands over a socket."""

import contextlib
import socket
import sys
import threading
from functools import partial

import uvicorn

from holdfast.server.server import Server

SERVES = b"s"
DRAIN = b"d"
HURRY = b"h"
WORN = b"w"


def work(
    config: uvicorn.Config, sockets: list[socket.socket], line: socket.socket, drain_seconds: float
) -> None:
    """Serve on ``sockets`` until the supervisor commands the end or is gone. Exits with 3 if the server cannot start."""
    config.configure_logging()
    line.set_inheritable(False)

    def report(what: bytes) -> None:
        with contextlib.suppress(OSError):
            line.sendall(what)

    # Uvicorn would end this process before there is another one. The supervisor first starts one.
    most, config.limit_max_requests = config.limit_max_requests, None
    server = Server(
        config,
        drain_seconds=drain_seconds,
        ready=partial(report, SERVES),
        supervised=True,
        worn_after=most,
        worn=partial(report, WORN),
    )
    threading.Thread(target=_listen, args=(line, server), daemon=True).start()
    server.run(sockets)
    if not server.started:
        sys.exit(uvicorn.config.STARTUP_FAILURE)


def _listen(line: socket.socket, server: Server) -> None:
    while True:
        try:
            command = line.recv(1)
        except OSError:
            command = b""
        if command == HURRY:
            server.hurry()
        else:
            server.stop()
        if not command:
            return
