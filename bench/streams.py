"""Benchmark of deliveries over event streams and over WebSockets, and of the memory of an idle connection of each.

    python -m bench.streams                          1,000 clients of one topic, three runs of each
    python -m bench.streams --members 200 --seconds 2 --idle 2000 --idle 10000

The application is that of bench/chat, on Uvicorn with Holdfast's protocol classes (adopted) and with Uvicorn's own (portable). Each run
starts a server of its own, pinned to core 0; the clients are sockets of this process, on core 1. A publisher on a WebSocket calls an
action that publishes one event of 128 bytes, and calls it again when all members have it. CPU is what /proc counts for the server's
process. Memory is the growth of its resident set, divided by the number of clients that have joined.
"""

import argparse
import contextlib
import os
import resource
import select
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.server.frames import TEXT, frame

from .portable import LOAD_CORE, cpu_seconds, served

PAYLOAD = "x" * 128
MARK = b'"name":"said"'
ACCEPTED = (b"HTTP/1.1 200", b"HTTP/1.1 101")
GOALS = {"adopted": 1.1, "portable": 1.5}
IDLE_GOAL = 5 * 1024
BACKLOG = ("--backlog", "8192")
SERVERS = {
    "adopted": (
        "--ws",
        "holdfast.server:WebSocketProtocol",
        "--http",
        "holdfast.server:HttpProtocol",
        *BACKLOG,
    ),
    "portable": ("--ws", "websockets-sansio", "--http", "httptools", *BACKLOG),
}
"""Uvicorn's arguments."""
UPGRADE = (
    "GET /live/ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Members:
    """Clients of one topic, as sockets that only read."""

    def __init__(self, port: int, topic: str) -> None:
        self._port = port
        self._topic = topic
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self.heard = 0

    def join(self, transport: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._port), 10)
        if transport == "websocket":
            join = f'{{"type":"join","ref":0,"topic":"{self._topic}"}}'
            client.sendall(UPGRADE.encode())
            self._until(client, b"\r\n\r\n")
            client.sendall(frame(TEXT, join))
        else:
            client.sendall(f"GET /live/sse?topic={self._topic} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        self._until(client, b'"joined"')
        client.setblocking(False)
        self._sockets[client.fileno()] = client
        self._epoll.register(client.fileno(), select.EPOLLIN)
        return client

    def _until(self, client: socket.socket, mark: bytes) -> None:
        data = b""
        while mark not in data:
            part = client.recv(65536)
            if not part:
                raise SystemExit(f"a client was refused: {data!r}")
            data += part
            status, complete, _ = data.partition(b"\r\n")
            refused = complete and status.startswith(b"HTTP/") and not status.startswith(ACCEPTED)
            if refused or b'"type":"error"' in data:
                client.close()
                raise SystemExit(f"a client was refused: {data!r}")

    def hear(self, count: int) -> None:
        """Read until so many events have arrived in all."""
        deadline = time.monotonic() + 20
        while self.heard < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.heard} of {count} events arrived")
            for number, _ in self._epoll.poll(1):
                self.heard += self._sockets[number].recv(65536).count(MARK)

    def close(self) -> None:
        for client in self._sockets.values():
            client.close()
        self._epoll.close()


@dataclass(frozen=True, kw_only=True)
class Way:
    server: str
    transport: str


def deliveries(way: Way, options: argparse.Namespace, directory: Path) -> float:
    """Return microseconds of server CPU for each delivery."""
    topic = f"{options.topic}/lobby"
    call = f'{{"type":"call","topic":"{topic}","name":"say","payload":{{"body":"{PAYLOAD}"}}}}'
    with (
        served(directory, *SERVERS[way.server]) as (pid, port),
        contextlib.closing(Members(port, topic)) as members,
    ):
        publisher = members.join("websocket")
        for _ in range(options.members):
            members.join(way.transport)
        everyone, published = options.members + 1, 0

        def publish_for(seconds: float) -> None:
            nonlocal published
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                publisher.sendall(frame(TEXT, call))
                published += 1
                members.hear(published * everyone)

        publish_for(1)
        before, cpu = published, cpu_seconds(pid)
        publish_for(options.seconds)
        return 1e6 * (cpu_seconds(pid) - cpu) / ((published - before) * everyone)


def idle(way: Way, count: int, options: argparse.Namespace, directory: Path) -> float:
    """Return bytes of memory for each idle client."""
    topic = f"{options.topic}/lobby"
    with (
        served(directory, *SERVERS[way.server]) as (pid, port),
        contextlib.closing(Members(port, topic)) as members,
    ):
        for _ in range(200):  # what the first ones cost is not theirs
            members.join(way.transport)
        before = resident(pid)
        for _ in range(count):
            members.join(way.transport)
        time.sleep(1)
        return (resident(pid) - before) / count


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=4, help="how long each run measures (4)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--topic", default="passing", choices=["passing", "kept"])
    parser.add_argument("--server", choices=list(SERVERS), action="append")
    parser.add_argument("--idle", type=int, action="append", default=[], help="measure memory with so many")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the servers inherit it
    missed = False
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for server in options.server or SERVERS:
            ways = [Way(server=server, transport=transport) for transport in ("websocket", "stream")]
            costs: dict[str, list[float]] = {way.transport: [] for way in ways}
            for _ in range(options.runs):
                for way in ways:  # by turns, so that what else happens on the machine happens to both
                    costs[way.transport].append(deliveries(way, options, directory))
            if options.runs:
                for transport, found in costs.items():
                    print(
                        f"{server:9} {transport:10} {statistics.median(found):6.2f} µs of CPU per delivery",
                        found,
                    )
                times = statistics.median(costs["stream"]) / statistics.median(costs["websocket"])
                missed |= times > GOALS[server]
                print(
                    f"{server:9} a stream costs {times:.2f} times a WebSocket (goal: {GOALS[server]})",
                    flush=True,
                )
            for count in options.idle if server == "adopted" else ():
                for way in ways:
                    size = idle(way, count, options, directory)
                    missed |= way.transport == "stream" and size > IDLE_GOAL
                    print(
                        f"{server:9} {way.transport:10} {size:6.0f} bytes for each of {count:,} idle",
                        flush=True,
                    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
