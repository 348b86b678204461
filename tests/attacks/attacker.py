"""Hostile clients on plain sockets: connections that flood, and connections that send half a message and wait."""

import contextlib
import resource
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Self

from .server import Attacked

SECONDS = 10.0

LIVE = "/live/ws"


def handshake(port: int, path: str = LIVE, headers: str = "") -> bytes:
    """Return the request of an anonymous client without an origin."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def connected(server: Attacked, data: bytes = b"", source: str | None = None) -> socket.socket:
    """Return a socket that is connected and has sent ``data``. ``source`` is its address, one of loopback."""
    own = None if source is None else (source, 0)
    made = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS, source_address=own)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if data:
        made.sendall(data)
    return made


def upgraded(server: Attacked, path: str = LIVE, headers: str = "") -> tuple[socket.socket, bytes]:
    """Return a socket after its handshake, and what arrived behind the answer."""
    made = connected(server, handshake(server.port, path, headers))
    arrived = b""
    while b"\r\n\r\n" not in arrived:
        more = made.recv(65536)
        assert more, f"closed during the handshake, after {arrived!r}"
        arrived += more
    head, _, rest = arrived.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return made, rest


def received(made: socket.socket, seconds: float = SECONDS) -> bytes:
    """Return everything until the server closes. Raises ``TimeoutError`` if it does not."""
    end, data = time.monotonic() + seconds, b""
    while (left := end - time.monotonic()) > 0:
        made.settimeout(left)
        try:
            more = made.recv(65536)
        except ConnectionError:
            return data
        if not more:
            return data
        data += more
    raise TimeoutError(f"the connection is still open after {seconds} s; received {data[:200]!r}")


def allow_sockets(count: int) -> None:
    """Let this process open ``count`` sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))


@contextlib.contextmanager
def many(server: Attacked, count: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open ``count`` sockets that send ``data`` and then wait."""
    allow_sockets(count)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connected(server, data)) for _ in range(count)]


def closed(sockets: list[socket.socket], seconds: float) -> int:
    """Wait until the server has closed all of them, for ``seconds`` at most. Return how many it has closed."""
    end, done = time.monotonic() + seconds, 0
    for made in sockets:
        with contextlib.suppress(TimeoutError):
            received(made, max(end - time.monotonic(), 0.001))
            done += 1
    return done


class Attackers(ABC):
    """Threads that attack a server as long as the ``with`` block lasts."""

    def __init__(self, server: Attacked, count: int) -> None:
        self._server = server
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._attack, daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(SECONDS)

    @abstractmethod
    def _attack(self) -> None:
        """Attack until ``_over`` is set."""


class Flood(Attackers):
    """Connections that send ``data`` over and over. Each connects again when it is closed, ``pause`` seconds later."""

    def __init__(
        self,
        server: Attacked,
        data: bytes,
        *,
        connections: int,
        opening: bytes | None,
        pause: float,
        source: str | None = None,
    ) -> None:
        super().__init__(server, connections)
        self._source = source
        self._data = data
        self._opening = handshake(server.port) if opening is None else opening
        self._pause = pause
        self.sent = 0
        self.connects = 0

    def _attack(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError), connected(self._server, source=self._source) as made:
                self.connects += 1
                made.settimeout(1)
                if self._opening:
                    made.sendall(self._opening)
                    made.recv(65536)
                while not self._over.is_set():
                    self.sent += made.send(self._data)
            self._over.wait(self._pause)


def flood(
    server: Attacked, data: bytes, *, connections: int, opening: bytes | None = None, pause: float = 0.05
) -> Flood:
    """Attack with ``connections`` at once. ``opening`` replaces the WebSocket's handshake."""
    return Flood(server, data, connections=connections, opening=opening, pause=pause)


class Reconnecting(Attackers):
    """Connections that open again as soon as they have their answer, from ``source``, an address of loopback."""

    def __init__(self, server: Attacked, connections: int, source: str) -> None:
        super().__init__(server, connections)
        self._source = source
        self.statuses: list[bytes] = []

    def _attack(self) -> None:
        request, address = handshake(self._server.port), ("127.0.0.1", self._server.port)
        while not self._over.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(address, SECONDS, source_address=(self._source, 0)) as made,
            ):
                made.sendall(request)
                self.statuses.append(made.recv(4096).split(b" ", 2)[1])


class Crowd(Attackers):
    """``sockets`` connections from ``source`` that send ``data`` and then wait. Each that the server closes is opened again, ``pause``
    seconds after the last one. The prober's seconds begin when all have been tried."""

    def __init__(
        self, server: Attacked, data: bytes, sockets: int, source: str, *, pause: float = 0.002
    ) -> None:
        super().__init__(server, 1)
        allow_sockets(sockets)
        self._data, self._source, self._pause = data, source, pause
        self._sockets: list[socket.socket | None] = [None] * sockets
        self._tried = threading.Event()
        self.statuses: Counter[bytes] = Counter()

    @property
    def open(self) -> int:
        """Sockets that the server has not closed."""
        return sum(made is not None for made in self._sockets)

    def __enter__(self) -> Self:
        super().__enter__()
        self._tried.wait(60)
        return self

    def _attack(self) -> None:
        try:
            for place in range(len(self._sockets)):
                self._open(place)
            self._tried.set()
            while not self._over.is_set():
                for place, made in enumerate(self._sockets):
                    if self._over.is_set():
                        break
                    if self._ended(made):
                        self._open(place)
                        self._over.wait(self._pause)
                self._over.wait(0.05)
        finally:
            for made in self._sockets:
                if made is not None:
                    made.close()

    def _open(self, place: int) -> None:
        before = self._sockets[place]
        if before is not None:
            before.close()
        self._sockets[place] = None
        with contextlib.suppress(OSError):
            made = connected(self._server, self._data, self._source)
            made.setblocking(False)
            self._sockets[place] = made

    def _ended(self, made: socket.socket | None) -> bool:
        if made is None:
            return True
        try:
            arrived = made.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            return True
        if arrived.startswith(b"HTTP/1.1 "):
            self.statuses[arrived[9:12]] += 1
        return not arrived
