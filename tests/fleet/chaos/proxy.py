"""A TCP proxy that loses, delays, holds and cuts: the network between two parts of the fleet.

TCP never loses or reorders bytes in the middle of a living connection, and neither does this proxy. It can hold bytes for
any time, deliver the first part of them, and end the connection.
"""

import asyncio
import random
import socket
import struct
from collections import deque
from typing import Self, cast

BUFFER_BYTES = 32 * 1024
"""What one direction of one connection holds before its sender has to wait."""


class Proxy:
    """Listens on a port of its own and passes on to ``target``. For the event loop's thread only."""

    def __init__(self, name: str, target: tuple[str, int], *, seed: int = 0) -> None:
        self.name = name
        self.target = target
        self.port = 0
        self.delay = 0.0
        self.held = False
        self.refusing = False
        self.cut = 0.0  # the share of connections that are cut at their next data
        self.chance = random.Random(f"{name} {seed}")
        self.links: set[Link] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Side(Link(self)), "127.0.0.1", 0, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()

    # ── what can go wrong ────────────────────────────────────────────────────────────────────────────────────────────

    def drop(self, share: float = 1.0) -> int:
        """Reset a share of the connections, at once; how many that were."""
        links = sorted(self.links, key=lambda link: link.number)
        gone = [link for link in links if share >= 1 or self.chance.random() < share]
        for link in gone:
            link.reset()
        return len(gone)

    def hold(self) -> None:
        """Become a black hole: hold all bytes, let new connections wait for an answer, and report it to neither side."""
        self.held = True

    def let_go(self) -> None:
        """Deliver the bytes that were held."""
        self.held = False
        for link in tuple(self.links):
            link.go_on()

    def cut_streams(self, share: float) -> None:
        """Cut a share of the connections, each at its next data: a part of it arrives, and then the end."""
        self.cut = share
        for link in self.links:
            link.doomed = self.chance.random() < share

    def calm(self) -> None:
        """End all faults."""
        self.delay, self.refusing, self.cut = 0.0, False, 0.0
        for link in self.links:
            link.doomed = False
        self.let_go()


class Link:
    """One connection through a proxy: two sides, and what is between them."""

    _count = 0

    def __init__(self, proxy: Proxy) -> None:
        Link._count += 1
        self.number = Link._count
        self.proxy = proxy
        self.near: Side | None = None
        self.far: Side | None = None
        self.doomed = proxy.chance.random() < proxy.cut
        self.closed = False
        self._connecting: asyncio.Task[None] | None = None

    def opened(self, near: "Side") -> None:
        self.near = near
        if self.proxy.refusing:
            self.reset()
            return
        self.proxy.links.add(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: Side(self, far=True), *self.proxy.target
            )
        except OSError:
            self.reset()

    def connected(self, far: "Side") -> None:
        self.far = far
        if self.closed:
            far.abort()
            return
        assert self.near is not None
        far.peer, self.near.peer = self.near, far
        self.go_on()

    def go_on(self) -> None:
        for side in (self.near, self.far):
            if side is not None:
                side.pass_on()

    def cut(self, side: "Side", data: bytes) -> None:
        """Deliver the first part of ``data`` to the other side, then end both. What waits before it is lost with it."""
        peer = side.peer
        if peer is not None and peer.transport is not None:
            if side.is_clear:
                peer.transport.write(data[: self.proxy.chance.randrange(len(data))])
            peer.transport.close()
        self.end(peer)

    def finish(self) -> None:
        """End the link when both sides have sent everything."""
        self.closed = True
        self.proxy.links.discard(self)
        for side in (self.near, self.far):
            if side is not None and side.transport is not None:
                side.transport.close()

    def reset(self) -> None:
        """End both sides with RST, as a machine that lost its memory would."""
        for side in (self.near, self.far):
            if side is not None and side.transport is not None:
                raw = side.transport.get_extra_info("socket")
                if raw is not None and raw.fileno() >= 0:  # it may be closed already
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end(None)

    def end(self, spared: "Side | None") -> None:
        self.closed = True
        self.proxy.links.discard(self)
        for side in (self.near, self.far):
            if side is not None and side is not spared:
                side.abort()


class Side(asyncio.Protocol):
    """One end of a link: what it receives waits here until it may be written to the other."""

    def __init__(self, link: Link, *, far: bool = False) -> None:
        self._link = link
        self._far = far
        self.peer: Side | None = None
        self.transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._ended = False
        self._writable = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = made = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        made.set_write_buffer_limits(high=BUFFER_BYTES)
        if self._far:
            self._link.connected(self)
        else:
            self._link.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._link.doomed:
            self._link.cut(self, data)
            return
        proxy, peer = self._link.proxy, self.peer
        if not self._waiting and peer is not None and not proxy.delay and not proxy.held and peer._writable:
            assert peer.transport is not None
            peer.transport.write(data)
            return
        due = asyncio.get_running_loop().time() + proxy.delay * proxy.chance.uniform(0.5, 1.5)
        self._waiting.append((due, data))
        self._size += len(data)
        if self._size > BUFFER_BYTES and self.transport is not None:
            self.transport.pause_reading()
        self.pass_on()

    def eof_received(self) -> bool:
        self._ended = True
        self.pass_on()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if self._link.closed:
            return
        if error is not None or not self._ended:
            self._link.end(None)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self.peer is not None:
            self.peer.pass_on()

    def pass_on(self) -> None:
        """Write to the other side what is due."""
        loop, peer = asyncio.get_running_loop(), self.peer
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if peer is None or peer.transport is None or self.transport is None or self._link.proxy.held:
            return
        while self._waiting and peer._writable:
            due, data = self._waiting[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self.pass_on)
                return
            self._waiting.popleft()
            self._size -= len(data)
            peer.transport.write(data)
        if self._size <= BUFFER_BYTES and not self._ended and not self.transport.is_closing():
            self.transport.resume_reading()
        if self._ended and not self._waiting:
            if peer._ended and peer.is_clear:
                self._link.finish()
            elif peer.transport.can_write_eof():
                peer.transport.write_eof()

    @property
    def is_clear(self) -> bool:
        """Return whether no bytes wait here."""
        return not self._waiting

    def abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.transport is not None:
            self.transport.abort()
