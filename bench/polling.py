"""Benchmark of waiting polls without events: the server's CPU between answers, its CPU for one answer, and its memory.

    python -m bench.polling                               5,000 polls, for 50 seconds
    python -m bench.polling --polls 1000 --seconds 30 --server portable

The application and the servers are those of bench.streams: the server is pinned to core 0, the clients are sockets of this process on
core 1. Each client polls one topic and asks again as soon as it is answered, which without events is after 25 seconds
(``transports.polling.WAIT_SECONDS``). CPU is what /proc counts for the server's process: first from the last new client to the first
answer, then over ``--seconds`` with answers. Memory is the growth of its resident set, divided by the number of polls.
"""

import argparse
import contextlib
import json
import os
import resource
import select
import socket
import sys
import tempfile
import time
from pathlib import Path

from .portable import LOAD_CORE, cpu_seconds, served
from .streams import SERVERS, resident

TOPIC = "passing/lobby"
GOAL = 0.01
"""Share of one core that polls may take while they wait: that of an idle server, rounded up."""

WAIT_SECONDS = 25


class Poll:
    """A client that always has a request under way, on one connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self._query = f"topic={TOPIC}"
        self._read = b""
        self.ask()
        while not self.hear():
            pass
        self.ask()

    def ask(self) -> None:
        self.socket.sendall(f"GET /live/poll?{self._query} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def hear(self) -> bool:
        """Read once. Return whether the answer is complete; the next request continues it."""
        part = self.socket.recv(65536)
        if not part:
            raise SystemExit(f"a client was cut off: {self._read!r}")
        self._read += part
        head, complete, body = self._read.partition(b"\r\n\r\n")
        if complete and (not head.startswith(b"HTTP/1.1 200") or b'"type":"error"' in body):
            self.socket.close()
            raise SystemExit(f"a client was refused: {self._read!r}")
        if not body.endswith(b"]}"):
            return False
        answer = json.loads(body)
        self._read = b""
        self._query = f"topic={TOPIC}&session={answer['session']}&ack={answer['ack']}"
        self._query += f"&last-event-id={answer['last']}"
        return True


class Polls:
    """Clients that poll, each again as soon as it is answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._polls: dict[int, Poll] = {}
        self._epoll = select.epoll()
        self.answers = 0

    def add(self) -> None:
        poll = Poll(self._port)
        self._polls[poll.socket.fileno()] = poll
        self._epoll.register(poll.socket.fileno(), select.EPOLLIN)

    def go_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for number, _ in self._epoll.poll(left):
                poll = self._polls[number]
                if poll.hear():
                    self.answers += 1
                    poll.ask()

    def close(self) -> None:
        for poll in self._polls.values():
            poll.socket.close()
        self._epoll.close()


def measure(server: str, options: argparse.Namespace, directory: Path) -> bool:
    """Print what the polls cost on one server. Return whether the goal is met."""
    with (
        served(directory, *SERVERS[server]) as (pid, port),
        contextlib.closing(Polls(port)) as polls,
    ):
        for _ in range(100):  # what the first ones cost is not theirs
            polls.add()
        polls.go_on(1)
        before, first = resident(pid), time.monotonic()
        for number in range(options.polls):
            polls.add()
            if number % 100 == 0:
                polls.go_on(0.001)
        polls.go_on(1)
        size = (resident(pid) - before) / options.polls
        print(f"{server:9} {size:6.0f} bytes for each of {options.polls:,} waiting polls")
        # The 100 first polls are answered in between, but not these.
        polls.answers = 0
        left = first + WAIT_SECONDS - 0.5 - time.monotonic()
        quiet = _share(polls, pid, min(left, options.seconds))
        print(
            f"{server:9} {100 * quiet:6.2f} % of one core while they wait, with {polls.answers:,} answers",
            flush=True,
        )
        polls.answers = 0
        share = _share(polls, pid, options.seconds)
        print(
            f"{server:9} {100 * share:6.2f} % of one core over {options.seconds:g} s, "
            f"with {polls.answers:,} answers"
        )
        if polls.answers:
            each = 1e6 * share * options.seconds / polls.answers
            print(f"{server:9} {each:6.0f} µs of CPU for each answer and new request", flush=True)
        return quiet <= GOAL


def _share(polls: Polls, pid: int, seconds: float) -> float:
    """Return the share of one core that the server takes over some time."""
    if seconds <= 0:
        raise SystemExit("the first polls were answered before the last ones began; ask for fewer --polls")
    cpu = cpu_seconds(pid)
    polls.go_on(seconds)
    return (cpu_seconds(pid) - cpu) / seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--polls", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=50, help="how long a run measures (50)")
    parser.add_argument("--server", choices=list(SERVERS), action="append")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the servers inherit it
    with tempfile.TemporaryDirectory() as directory:
        met = [measure(server, options, Path(directory)) for server in options.server or ["adopted"]]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
